import { invariant } from './assert.js';
import { type CacheStats, type EvictionReason, emptyCacheStats, type ReuseKind } from './cache-stats.js';
import { Eviction } from './eviction.js';
import { PlannedOperations } from './planned-operations.js';
import type { SlotOperation, TickPlan, TickResult } from './ports.js';
import { PrefixIndex } from './prefix-index.js';
import type { Sequence } from './sequence.js';
import { priorityClasses } from './sequence-spec.js';
import type { Slot } from './slot.js';
import {
  cheapestImport,
  cheapestSource,
  extraPasses,
  type Offer,
  type PrefixSource,
  restMs,
} from './slot-choice.js';
import type { SlotCosts } from './slot-costs.js';
import { type Snapshot, Snapshots } from './snapshots.js';

const noTokens = new Uint32Array(0);
/** While others decode, slot operations of one tick may take this long; what does not fit waits for the next tick. */
const operationBudgetMs = 25;

export type { Slot } from './slot.js';

export interface SlotPoolOptions {
  slotCount: number;
  costs: SlotCosts;
  /** Bytes of snapshots at most; 0: none are made. */
  snapshotBytes: number;
  /** false for models that cannot forget a tail: every sequence starts cold then. */
  reusePrefixes: boolean;
}

/**
 * Which slot belongs to whom, and which KV is worth keeping where. A sequence gets the slot that costs least: prefill
 * still to do, plus bringing the prefix, plus what the overwritten cache was worth, plus passes lost to a hole.
 */
export class SlotPool {
  readonly slots: readonly Slot[];
  readonly stats: CacheStats = emptyCacheStats();
  private readonly costs: SlotCosts;
  private readonly reusePrefixes: boolean;
  private readonly index = new PrefixIndex<Slot | Snapshot>();
  private readonly eviction = new Eviction();
  private readonly snapshots: Snapshots;
  private freeSlots: number;
  private readonly planned = new PlannedOperations();

  constructor({ slotCount, costs, snapshotBytes, reusePrefixes }: SlotPoolOptions) {
    this.slots = Array.from({ length: slotCount }, (_, index) => ({
      kind: 'slot',
      index,
      owner: null,
      cached: noTokens,
      cacheSalt: '',
      kvTokens: 0,
      uses: 1,
      credit: 0,
    }));
    this.freeSlots = slotCount;
    this.costs = costs;
    this.reusePrefixes = reusePrefixes;
    const limitBytes = reusePrefixes ? snapshotBytes : 0;
    const onEvicted = () => this.count('snapshot-limit');
    this.snapshots = new Snapshots(limitBytes, this.index, this.eviction, costs, onEvicted);
  }

  get freeCount(): number {
    return this.freeSlots;
  }

  get cachedCount(): number {
    return this.slots.filter((slot) => slot.owner === null && slot.cached.length > 0).length;
  }

  cacheStats(): CacheStats {
    this.stats.snapshots = this.snapshots.count;
    this.stats.snapshotBytes = this.snapshots.bytes;
    return this.stats;
  }

  /** Gives the sequence the cheapest free slot; `settle` then says what it starts from. */
  acquire(sequence: Sequence): { slot: Slot; inPlaceTokens: number } {
    const { prompt, cacheSalt, maxTokens } = sequence.spec;
    const offers = this.offers(sequence);
    const imported = cheapestImport(offers, prompt.length, this.costs);
    const held = new Map(offers.map(({ holder, tokens }) => [holder, tokens]));
    let chosen: { slot: Slot; kept: number; costMs: number } | null = null;
    for (const slot of this.slots) {
      if (slot.owner !== null) continue;
      const inPlaceTokens = held.get(slot) ?? 0;
      const { source, costMs } = cheapestSource(imported, inPlaceTokens, prompt.length, this.costs);
      const kept = source.kind === 'in-place' ? source.tokens : 0;
      const holeMs = extraPasses(this.slots, slot.index) * this.holeMs(maxTokens);
      const totalMs = costMs + this.lossMs(slot, kept) + holeMs;
      if (chosen === null || totalMs < chosen.costMs) chosen = { slot, kept: inPlaceTokens, costMs: totalMs };
    }
    invariant(chosen !== null, () => 'acquired a slot when none is free');
    const { slot, kept } = chosen;
    this.vacate(slot, kept);
    slot.owner = sequence;
    slot.cacheSalt = cacheSalt;
    if (this.reusePrefixes) this.index.insert(cacheSalt, slot, prompt);
    this.freeSlots -= 1;
    return { slot, inPlaceTokens: kept };
  }

  /**
   * Brings the cheapest prefix into the sequence's slot, or finds that waiting is cheaper: for another sequence that is
   * computing a longer one, or for the next tick's time.
   * @param isDecoding whether others would be held up by long operations
   * @returns whether it can be computed now
   */
  settle(sequence: Sequence, isDecoding: boolean): boolean {
    const slot = this.slots[sequence.slot!]!;
    const promptTokens = sequence.spec.prompt.length;
    const offers = this.offers(sequence).filter(({ holder }) => this.canFill(slot, holder));
    const imported = cheapestImport(offers, promptTokens, this.costs);
    const { source, costMs } = cheapestSource(imported, sequence.computedTokens, promptTokens, this.costs);
    if (this.isWorthWaiting(sequence, costMs)) {
      sequence.waitedForPrefix = true;
      return false;
    }
    const bringMs = costMs - restMs(promptTokens, source.tokens, this.costs);
    const { totalMs } = this.planned;
    if (isDecoding && bringMs > 0 && totalMs > 0 && totalMs + bringMs > operationBudgetMs) return false;
    this.planned.totalMs += bringMs;
    this.bring(slot, sequence, source);
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
    const isHeld = this.reusePrefixes && slot.kvTokens !== null && slot.kvTokens >= sequence.computedTokens;
    this.keep(slot, isHeld ? sequence.computed() : noTokens);
  }

  /** The sequence goes on in a free slot; the one it leaves keeps the KV as cache. */
  move(sequence: Sequence, toSlot: number): void {
    const from = this.slots[sequence.slot!]!;
    const to = this.slots[toSlot]!;
    invariant(
      to.owner === null && from.owner === sequence && from.kvTokens === sequence.computedTokens,
      () => `sequence ${sequence.spec.id} cannot move from slot ${from.index} to ${to.index}`,
    );
    this.vacate(to, 0);
    to.owner = sequence;
    to.cacheSalt = sequence.spec.cacheSalt;
    to.uses = 1;
    if (this.reusePrefixes) this.index.insert(to.cacheSalt, to, sequence.spec.prompt);
    this.planned.copy(from.index, toSlot, sequence.computedTokens);
    to.kvTokens = sequence.computedTokens;
    sequence.slot = toSlot;
    from.owner = null;
    this.keep(from, this.reusePrefixes ? sequence.computed() : noTokens);
  }

  /** The slot does not hold what the account says. @param kvTokens what it holds instead; null: unknown */
  lose(slot: Slot, kvTokens: number | null): void {
    slot.kvTokens = kvTokens;
    if (slot.cached.length > 0 || (slot.owner?.computedTokens ?? 0) > 0) this.count('lost');
    if (slot.owner) slot.owner.forgetComputed();
    else this.keep(slot, noTokens);
  }

  /** What the next plan has to do before its rows. */
  takeOperations(): SlotOperation[] {
    return this.planned.take(this.snapshots.takeForgotten());
  }

  /** What became of the plan's operations. Slots that were lost are told by `lose`. */
  applied({ operations }: TickPlan, result: TickResult): void {
    this.snapshots.restored();
    for (const report of result.saves ?? []) {
      if (!this.snapshots.saved(report)) this.count('snapshot-failed');
    }
    if (result.outcome !== 'slots-lost') return;
    for (const operation of operations) {
      if (operation.kind === 'restore' && result.slots.includes(operation.slot)) {
        this.snapshots.drop(operation.snapshotId);
        this.count('snapshot-failed');
      } else if (operation.kind === 'copy' && result.slots.includes(operation.toSlot)) {
        const donor = this.slots[operation.fromSlot]!;
        if (donor.owner === null) this.lose(donor, null);
      }
    }
  }

  /** @throws InvariantError when the account contradicts itself */
  checkIntegrity(): void {
    this.index.checkIntegrity();
    for (const slot of this.slots) {
      const { owner, cached, kvTokens } = slot;
      invariant(owner === null || cached.length === 0, () => `slot ${slot.index} is busy and cached`);
      invariant(
        cached.length <= (kvTokens ?? 0),
        () => `slot ${slot.index} is said to cache more than it holds`,
      );
      const indexed = owner === null ? cached.length : this.reusePrefixes ? owner.spec.prompt.length : 0;
      invariant(this.index.length(slot) === indexed, () => `slot ${slot.index} is indexed wrongly`);
    }
  }

  /** Everything that holds the beginning of the prompt now, and how much of it may be used. */
  private offers(sequence: Sequence): Offer[] {
    if (!this.reusePrefixes) return [];
    const { prompt, cacheSalt } = sequence.spec;
    const usable = prompt.subarray(0, prompt.length - 1);
    return [...this.index.match(cacheSalt, usable)].map(([holder, shared]) => ({
      holder,
      tokens: Math.min(shared, availableTokens(holder)),
    }));
  }

  private canFill(slot: Slot, holder: Slot | Snapshot): boolean {
    if (holder === slot) return false;
    return holder.kind === 'slot' || this.planned.mayRestoreInto(slot.index);
  }

  /** Whether someone of the same or a higher class computes so much more of the prompt that copying it is cheaper. */
  private isWorthWaiting(sequence: Sequence, costMs: number): boolean {
    if (!this.reusePrefixes) return false;
    const { prompt, cacheSalt, priorityClass } = sequence.spec;
    const rank = priorityClasses.indexOf(priorityClass);
    const usable = prompt.subarray(0, prompt.length - 1);
    for (const [holder, shared] of this.index.match(cacheSalt, usable)) {
      if (holder.kind === 'snapshot' || !holder.owner || holder.owner === sequence) continue;
      const { owner } = holder;
      const isComputing = owner.isSettled && owner.computedTokens < shared;
      if (!isComputing || priorityClasses.indexOf(owner.spec.priorityClass) > rank) continue;
      const laterMs = restMs(prompt.length, shared, this.costs) + this.costs.copyMs + this.costs.passMs;
      if (laterMs < costMs) return true;
    }
    return false;
  }

  private bring(slot: Slot, sequence: Sequence, chosen: PrefixSource): void {
    const source = chosen.kind === 'copy' ? this.publish(chosen, slot) : chosen;
    this.record(sequence, source.kind, source.tokens);
    sequence.settle(source.tokens);
    if (source.kind === 'in-place') {
      this.eviction.used(slot);
      return;
    }
    slot.uses = 1;
    if (source.kind === 'cold') return;
    slot.kvTokens = source.tokens;
    this.eviction.used(source.kind === 'copy' ? source.donor : source.snapshot);
    if (source.kind === 'copy') this.planned.copy(source.donor.index, slot.index, source.tokens);
    else {
      this.snapshots.restoring(source.snapshot);
      this.planned.restore(slot.index, source.snapshot.id, source.tokens);
    }
  }

  /** A prefix that is copied again and again is cheaper as a snapshot: restoring moves used cells only. */
  private publish(source: PrefixSource & { kind: 'copy' }, target: Slot): PrefixSource {
    const { donor, tokens } = source;
    const held = donor.owner ? donor.owner.computed() : donor.cached;
    const restoreMs = this.costs.restoreMs(held.length);
    const firstMs = restoreMs + (donor.uses > 1 ? 0 : this.costs.saveMs(held.length));
    const isPossible =
      donor.kvTokens === held.length &&
      this.planned.maySave(donor.index) &&
      this.planned.mayRestoreInto(target.index) &&
      this.snapshots.canHold(held.length);
    if (!isPossible || firstMs >= this.costs.copyMs) return source;
    const snapshot = this.save(donor, held, Number.POSITIVE_INFINITY);
    return snapshot ? { kind: 'snapshot', tokens, snapshot } : source;
  }

  private save(slot: Slot, tokens: Uint32Array, worthMs: number): Snapshot | null {
    const snapshot = this.snapshots.add(slot.cacheSalt, tokens, worthMs);
    if (!snapshot) return null;
    snapshot.uses = slot.uses;
    this.planned.save(slot.index, snapshot.id, tokens, this.costs.saveMs(tokens.length));
    return snapshot;
  }

  /** Gives up what a free slot caches beyond its first `keptTokens`, as a snapshot if that is expected to pay. */
  private vacate(slot: Slot, keptTokens: number): void {
    const { cached } = slot;
    slot.cached = noTokens;
    if (cached.length <= keptTokens) return;
    const recomputeMs = this.lostPrefillMs(slot, cached.length, keptTokens);
    const worthMs = this.eviction.worthMs(slot, recomputeMs);
    const savingMs = recomputeMs * this.eviction.reuseRate;
    const isSteady = slot.kvTokens === cached.length && this.planned.maySave(slot.index);
    const paysOff = savingMs > this.costs.saveMs(cached.length) + this.costs.restoreMs(cached.length);
    if (isSteady && paysOff && this.save(slot, cached, Math.max(worthMs, savingMs))) {
      this.count('saved');
      return;
    }
    if (recomputeMs > 0) this.count('overwritten');
    if (keptTokens === 0) this.eviction.evicted(slot, recomputeMs);
  }

  /** What overwriting a free slot beyond its first `keptTokens` costs in expectation. */
  private lossMs(slot: Slot, keptTokens: number): number {
    const { length } = slot.cached;
    if (length <= keptTokens) return 0;
    const worthMs = this.eviction.worthMs(slot, this.lostPrefillMs(slot, length, keptTokens));
    if (!this.snapshots.canHold(length)) return worthMs;
    return Math.min(worthMs, this.costs.saveMs(length) + this.costs.restoreMs(length));
  }

  /** What nobody else holds of a slot's cache, in milliseconds of prefill. */
  private lostPrefillMs(slot: Slot, length: number, keptTokens: number): number {
    const safe = Math.max(keptTokens, this.index.sharedLength(slot));
    return length > safe ? this.costs.prefillMs(length - safe, safe) : 0;
  }

  /** A pass more per tick, until compaction closes the hole by a copy. */
  private holeMs(maxTokens: number): number {
    return Math.min(this.costs.passMs * maxTokens, this.costs.copyMs);
  }

  private keep(slot: Slot, tokens: Uint32Array): void {
    slot.cached = tokens;
    this.index.insert(slot.cacheSalt, slot, tokens);
    this.eviction.refresh(slot);
  }

  private record(sequence: Sequence, kind: ReuseKind | 'cold', tokens: number): void {
    const isImported = kind === 'copy' || kind === 'snapshot';
    const reuse = isImported && sequence.waitedForPrefix ? 'wait-and-copy' : kind;
    this.stats.queriedTokens += sequence.spec.prompt.length;
    this.stats.starts[reuse] += 1;
    if (reuse !== 'cold') this.stats.hitTokens[reuse] += tokens;
  }

  private count(reason: EvictionReason): void {
    this.stats.evictions[reason] += 1;
  }
}

function availableTokens(holder: Slot | Snapshot): number {
  if (holder.kind === 'snapshot') return holder.tokens;
  if (holder.owner === null) return holder.cached.length;
  return holder.kvTokens === null ? 0 : Math.min(holder.kvTokens, holder.owner.computedTokens);
}
