import { invariant } from './assert.js';
import type { CacheStats } from './cache-stats.js';
import type { SlotOperation, TickPlan, TickResult } from './ports.js';
import { PrefixCache, type PrefixCacheOptions } from './prefix-cache.js';
import type { Sequence } from './sequence.js';
import { isBulk, type SequenceSpec } from './sequence-spec.js';
import type { Slot } from './slot.js';
import { cheapestImport, cheapestSource, extraPasses, restMs } from './slot-choice.js';
import type { SlotCosts } from './slot-costs.js';

const noTokens = new Uint32Array(0);

export type { Slot } from './slot.js';

export interface SlotPoolOptions extends PrefixCacheOptions {
  /** Bulk work and other classes mostly run in ticks of their own. */
  bulkSitsOut: boolean;
}

/** What keeping others from closing a hole between them counts, in passes of one's own. */
const splitOthersShare = 0.5;

/**
 * Which slot belongs to whom. A sequence gets the slot that costs least: prefill still to do, plus bringing the prefix,
 * plus what the overwritten cache was worth, plus passes lost to a hole.
 */
export class SlotPool {
  readonly slots: readonly Slot[];
  private readonly costs: SlotCosts;
  private readonly cache: PrefixCache;
  private readonly bulkSitsOut: boolean;
  private freeSlots: number;

  constructor(options: SlotPoolOptions) {
    this.bulkSitsOut = options.bulkSitsOut;
    this.slots = Array.from({ length: options.slotCount }, (_, index) => ({
      kind: 'slot',
      index,
      owner: null,
      cached: noTokens,
      cacheSalt: '',
      kvTokens: 0,
      uses: 1,
      credit: 0,
      isBulk: false,
    }));
    this.freeSlots = options.slotCount;
    this.costs = options.costs;
    this.cache = new PrefixCache(options);
  }

  get freeCount(): number {
    return this.freeSlots;
  }

  get cachedCount(): number {
    return this.slots.filter((slot) => slot.owner === null && slot.cached.length > 0).length;
  }

  cacheStats(): CacheStats {
    return this.cache.readStats();
  }

  /** Whoever joins the line says already whether caches are asked for again. */
  expect(spec: SequenceSpec): void {
    this.cache.expect(spec);
  }

  /** Gives the sequence the cheapest free slot; `settle` then says what it starts from. */
  acquire(sequence: Sequence): { slot: Slot; inPlaceTokens: number } {
    const { slot, inPlaceTokens } = this.cheapestSlot(sequence);
    this.cache.vacate(slot, inPlaceTokens);
    slot.owner = sequence;
    slot.cacheSalt = sequence.spec.cacheSalt;
    slot.isBulk = isBulk(sequence.spec);
    this.freeSlots -= 1;
    return { slot, inPlaceTokens };
  }

  /**
   * Brings the cheapest prefix into the sequence's slot, or finds that waiting is cheaper: for another sequence that is
   * computing a longer one, or for the next tick's time.
   * @param isDecoding whether others would be held up by long operations
   * @returns whether it can be computed now
   */
  settle(sequence: Sequence, isDecoding: boolean): boolean {
    const slot = this.slots[sequence.slot!]!;
    const knownTokens = sequence.known().length;
    const offers = this.cache.offers(sequence);
    const importable = offers.filter(({ holder }) => this.cache.canFill(slot, holder));
    const imported = cheapestImport(importable, knownTokens, this.costs);
    const { source, costMs } = cheapestSource(imported, sequence.computedTokens, knownTokens, this.costs);
    if (this.cache.isWorthWaiting(sequence, offers, costMs)) {
      sequence.waitedForPrefix = true;
      return false;
    }
    const { planned } = this.cache;
    const bringMs = costMs - restMs(knownTokens, source.tokens, this.costs);
    if (isDecoding && bringMs > 0 && !planned.fits(bringMs)) return false;
    planned.totalMs += bringMs;
    this.cache.bring(slot, sequence, source);
    return true;
  }

  /** The owner is done; what it computed stays as cache. */
  release(sequence: Sequence): void {
    const slot = this.slots[sequence.slot!]!;
    invariant(
      slot.owner === sequence,
      () => `sequence ${sequence.spec.id} released slot ${slot.index} of another`,
    );
    slot.owner = null;
    this.freeSlots += 1;
    const isHeld = slot.kvTokens !== null && slot.kvTokens >= sequence.computedTokens;
    this.cache.keep(slot, isHeld ? sequence.computed() : noTokens);
  }

  /** Whether no operation planned for this tick fills its slot. */
  mayLeave({ slot }: Sequence): boolean {
    return this.cache.planned.maySave(slot!);
  }

  /** There is time for another operation in the next tick. */
  get hasOperationTime(): boolean {
    return this.cache.planned.hasTime;
  }

  /**
   * The owner has to wait; what it computed is parked if that pays, else it stays as cache.
   * @returns whether it was parked
   */
  preempt(sequence: Sequence): boolean {
    const slot = this.slots[sequence.slot!]!;
    this.release(sequence);
    return this.cache.park(slot);
  }

  /** The sequence goes on in a free slot; the one it leaves keeps the KV as cache. */
  move(sequence: Sequence, toSlot: number): void {
    const from = this.slots[sequence.slot!]!;
    const to = this.slots[toSlot]!;
    invariant(
      to.owner === null && from.owner === sequence && from.kvTokens === sequence.computedTokens,
      () => `sequence ${sequence.spec.id} cannot move from slot ${from.index} to ${to.index}`,
    );
    this.cache.vacate(to, 0);
    Object.assign(to, {
      owner: sequence,
      cacheSalt: sequence.spec.cacheSalt,
      isBulk: isBulk(sequence.spec),
      uses: 1,
      kvTokens: from.kvTokens,
    });
    this.cache.planned.copy(from.index, toSlot, sequence.computedTokens);
    this.cache.promise(to, sequence);
    sequence.slot = toSlot;
    from.owner = null;
    this.cache.keep(from, sequence.computed());
  }

  /** The slot does not hold what the account says. @param kvTokens what it holds instead; null: unknown */
  lose(slot: Slot, kvTokens: number | null): void {
    if (slot.cached.length > 0 || (slot.owner?.computedTokens ?? 0) > 0) this.cache.count('lost');
    slot.kvTokens = kvTokens;
    if (slot.owner) slot.owner.forgetComputed();
    else this.cache.keep(slot, noTokens);
  }

  /** What the next plan has to do before its rows. */
  takeOperations(): SlotOperation[] {
    return this.cache.takeOperations();
  }

  /** What became of the plan's operations. Slots that were lost are told by `lose`. */
  applied(plan: TickPlan, result: TickResult): void {
    this.cache.applied(plan, result);
    if (result.outcome !== 'slots-lost') return;
    for (const operation of plan.operations) {
      if (operation.kind !== 'copy' || !result.slots.includes(operation.toSlot)) continue;
      const donor = this.slots[operation.fromSlot]!;
      // It may hold less than it was thought to; a busy one is checked in every tick.
      if (donor.owner === null) this.lose(donor, null);
    }
  }

  /** @throws InvariantError when the account contradicts itself */
  checkIntegrity(): void {
    this.cache.checkIntegrity(this.slots);
  }

  private cheapestSlot(sequence: Sequence): { slot: Slot; inPlaceTokens: number } {
    const { spec } = sequence;
    const knownTokens = sequence.known().length;
    const offers = this.cache.offers(sequence);
    const imported = cheapestImport(offers, knownTokens, this.costs);
    const passesLost = this.passesLostBy(sequence);
    const held = new Map(offers.map(({ holder, tokens }) => [holder, tokens]));
    // A pass more per tick, until compaction closes the hole by a copy.
    const holeMs = Math.min(this.costs.passMs * spec.maxTokens, this.costs.copyMs);
    let cheapest: { slot: Slot; inPlaceTokens: number; totalMs: number } | null = null;
    for (const slot of this.slots) {
      if (slot.owner !== null) continue;
      const inPlaceTokens = held.get(slot) ?? 0;
      const { source, costMs } = cheapestSource(imported, inPlaceTokens, knownTokens, this.costs);
      const lossMs = this.cache.lossMs(slot, source.kind === 'in-place' ? inPlaceTokens : 0);
      const totalMs = costMs + lossMs + passesLost(slot.index) * holeMs;
      if (cheapest === null || totalMs < cheapest.totalMs) cheapest = { slot, inPlaceTokens, totalMs };
    }
    invariant(cheapest !== null, () => 'acquired a slot when none is free');
    return cheapest;
  }

  /** Per tick, by who else shares it: where gaps between tokens count, bulk work mostly sits out. */
  private passesLostBy({ spec }: Sequence): (index: number) => number {
    const busy = (those: (owner: Sequence) => boolean) =>
      this.slots.map(({ owner }) => owner !== null && those(owner));
    if (!this.bulkSitsOut) {
      const all = busy(() => true);
      return (index) => extraPasses(all, index);
    }
    const same = busy((owner) => isBulk(owner.spec) === isBulk(spec));
    const others = busy((owner) => isBulk(owner.spec) !== isBulk(spec));
    return (index) => extraPasses(same, index) + (extraPasses(others, index) < 0 ? splitOthersShare : 0);
  }
}
