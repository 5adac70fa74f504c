import { invariant } from './assert.js';
import { type CacheStats, type EvictionReason, emptyCacheStats, type ReuseKind } from './cache-stats.js';
import { Eviction } from './eviction.js';
import { PlannedOperations } from './planned-operations.js';
import type { SlotOperation, TickPlan, TickResult } from './ports.js';
import { PrefixIndex } from './prefix-index.js';
import { ReuseRate } from './reuse-rate.js';
import type { Sequence } from './sequence.js';
import { classRank, type SequenceSpec } from './sequence-spec.js';
import type { Slot } from './slot.js';
import { type Offer, type PrefixSource, restMs } from './slot-choice.js';
import type { SlotCosts } from './slot-costs.js';
import { type Snapshot, Snapshots } from './snapshots.js';

const noTokens = new Uint32Array(0);

/**
 * Of the time that decode calls take, what may go into saves that the learned rate of returns does not justify. When
 * conversations begin after a stretch of one-shot requests, the rate learns of it only from caches that were lost.
 */
const trialSaveShare = 0.02;
/** What may be kept of that share for later. */
const mostTrialSaveMs = 250;
/** Computing the cache again must take so many times as long as saving and restoring it. */
const trialFactor = 4;

export interface PrefixCacheOptions {
  slotCount: number;
  costs: SlotCosts;
  /** Bytes of snapshots at most; 0: none are made. */
  snapshotBytes: number;
  /** null: not known before the first save. */
  snapshotBytesPerToken: number | null;
  /** false for models that cannot forget a tail: every sequence starts cold then. */
  reusePrefixes: boolean;
}

/** What slots and snapshots hold, what it is worth, and the operations that bring it to where it is needed. */
export class PrefixCache {
  readonly planned = new PlannedOperations();
  private readonly stats: CacheStats = emptyCacheStats();
  private readonly costs: SlotCosts;
  private readonly reusePrefixes: boolean;
  private readonly index = new PrefixIndex<Slot | Snapshot>();
  private readonly reuse: ReuseRate;
  private readonly eviction: Eviction;
  private readonly snapshots: Snapshots;
  private trialSaveMs = 0;

  constructor(options: PrefixCacheOptions) {
    const { slotCount, costs, snapshotBytes, reusePrefixes } = options;
    this.costs = costs;
    this.reuse = new ReuseRate(slotCount);
    this.eviction = new Eviction(this.reuse);
    this.reusePrefixes = reusePrefixes;
    this.snapshots = new Snapshots({
      limitBytes: reusePrefixes ? snapshotBytes : 0,
      bytesPerToken: options.snapshotBytesPerToken,
      index: this.index,
      eviction: this.eviction,
      costs,
      onEvicted: () => this.count('snapshot-limit'),
    });
  }

  readStats(): CacheStats {
    this.stats.snapshots = this.snapshots.count;
    this.stats.snapshotBytes = this.snapshots.bytes;
    return this.stats;
  }

  count(reason: EvictionReason): void {
    this.stats.evictions[reason] += 1;
  }

  expect({ cacheSalt, prompt }: SequenceSpec): void {
    if (this.reusePrefixes) this.reuse.asked(cacheSalt, prompt);
  }

  /** Everything that holds the beginning of its tokens, or will. */
  offers(sequence: Sequence): Offer[] {
    if (!this.reusePrefixes) return [];
    // The last known token is always computed, because its logits are needed.
    const wanted = sequence.known().subarray(0, -1);
    return [...this.index.match(sequence.spec.cacheSalt, wanted)].map(([holder, shared]) => ({
      holder,
      shared,
      tokens: Math.min(shared, availableTokens(holder)),
    }));
  }

  canFill(slot: Slot, holder: Slot | Snapshot): boolean {
    if (holder === slot) return false;
    return holder.kind === 'slot' || this.planned.mayRestoreInto(slot.index);
  }

  /** Whether someone of the same or a higher class computes so much more of its tokens that copying it is cheaper. */
  isWorthWaiting(sequence: Sequence, offers: readonly Offer[], costMs: number): boolean {
    const knownTokens = sequence.known().length;
    const rank = classRank(sequence.spec);
    // Who waits already does not give up for a small change of the estimates.
    const bringMs = this.costs.copyMs + (sequence.waitedForPrefix ? 0 : this.costs.passMs);
    return offers.some(({ holder, shared }) => {
      if (holder.kind === 'snapshot' || !holder.owner || holder.owner === sequence) return false;
      const { computedTokens, spec } = holder.owner;
      if (computedTokens >= shared || classRank(spec) > rank) return false;
      return restMs(knownTokens, shared, this.costs) + bringMs < costMs;
    });
  }

  /** Plans what fills the slot from the source; from now on the slot promises the whole prompt. */
  bring(slot: Slot, sequence: Sequence, chosen: PrefixSource): void {
    const source = chosen.kind === 'copy' ? this.publish(chosen, slot) : chosen;
    const isResumed = sequence.preemptions > 0;
    if (!isResumed) this.record(sequence, source.kind, source.tokens);
    this.reuse.asked(sequence.spec.cacheSalt, sequence.known());
    if (source.kind !== 'in-place') slot.uses = 1;
    if (source.kind === 'in-place') this.eviction.used(slot);
    else if (source.kind === 'copy') {
      this.eviction.used(source.donor);
      this.planned.copy(source.donor.index, slot.index, source.tokens);
      slot.kvTokens = source.tokens;
    } else if (source.kind === 'snapshot') {
      this.eviction.used(source.snapshot);
      if (isResumed) source.snapshot.uses = 1;
      this.snapshots.restoring(source.snapshot);
      this.planned.restore(slot.index, source.snapshot.id, source.tokens);
      slot.kvTokens = source.tokens;
    }
    sequence.settle(source.tokens);
    this.promise(slot, sequence);
  }

  /** The slot will hold the sequence's prompt; how much it holds already, its owner knows. */
  promise(slot: Slot, { spec }: Sequence): void {
    if (this.reusePrefixes) this.index.insert(spec.cacheSalt, slot, spec.prompt);
  }

  /** The slot is free and holds these tokens. */
  keep(slot: Slot, tokens: Uint32Array): void {
    slot.cached = this.reusePrefixes ? tokens : noTokens;
    this.index.insert(slot.cacheSalt, slot, slot.cached);
    this.eviction.refresh(slot);
  }

  /**
   * The owner comes back for all that the slot holds: parks it if that is cheaper than computing it again.
   * @returns whether it is parked
   */
  park(slot: Slot): boolean {
    const { cached } = slot;
    const recomputeMs = this.lostPrefillMs(slot, 0);
    if (recomputeMs <= this.costs.saveMs(cached.length) + this.costs.restoreMs(cached.length)) return false;
    const snapshot = this.save(slot, cached, recomputeMs);
    // As valuable as one that is used for certain.
    if (snapshot) snapshot.uses = Math.ceil(1 / this.eviction.rateOf(snapshot));
    return snapshot !== null;
  }

  /** Gives up what a free slot caches beyond its first `keptTokens`, as a snapshot if that is expected to pay. */
  vacate(slot: Slot, keptTokens: number): void {
    const { cached } = slot;
    const recomputeMs = this.lostPrefillMs(slot, keptTokens);
    if (recomputeMs > 0) {
      if (!slot.isBulk) this.reuse.left(slot.cacheSalt, cached, this.index.sharedLength(slot));
      if (!this.parks(slot, cached, recomputeMs)) {
        this.count('overwritten');
        if (keptTokens === 0) this.eviction.evicted(slot, recomputeMs);
      }
    }
    slot.cached = noTokens;
    this.index.remove(slot);
  }

  /** What overwriting a free slot beyond its first `keptTokens` costs in expectation. */
  lossMs(slot: Slot, keptTokens: number): number {
    const worthMs = this.eviction.worthMs(slot, this.lostPrefillMs(slot, keptTokens));
    const { length } = slot.cached;
    if (worthMs === 0 || !this.snapshots.canHold(length)) return worthMs;
    return Math.min(worthMs, this.costs.saveMs(length) + this.costs.restoreMs(length));
  }

  /** What the next plan has to do before its rows. */
  takeOperations(): SlotOperation[] {
    return this.planned.take(this.snapshots.takeForgotten());
  }

  /** What became of the plan's operations. */
  applied({ operations }: TickPlan, result: TickResult): void {
    this.snapshots.restored();
    if (result.outcome === 'decoded')
      this.trialSaveMs = Math.min(mostTrialSaveMs, this.trialSaveMs + trialSaveShare * result.decodeMs);
    for (const report of result.saves ?? []) {
      if (!this.snapshots.saved(report)) this.count('snapshot-failed');
    }
    if (result.outcome !== 'slots-lost') return;
    for (const operation of operations) {
      if (operation.kind !== 'restore' || !result.slots.includes(operation.slot)) continue;
      this.snapshots.drop(operation.snapshotId);
      this.count('snapshot-failed');
    }
  }

  /** @throws InvariantError when the account contradicts itself */
  checkIntegrity(slots: readonly Slot[]): void {
    this.index.checkIntegrity();
    for (const slot of slots) {
      const { index, owner, cached, kvTokens } = slot;
      invariant(owner === null || cached.length === 0, () => `slot ${index} is busy and cached`);
      invariant(cached.length <= (kvTokens ?? 0), () => `slot ${index} is said to cache more than it holds`);
      const promised = owner?.isSettled && this.reusePrefixes ? owner.spec.prompt.length : 0;
      const indexed = owner ? promised : cached.length;
      invariant(this.index.length(slot) === indexed, () => `slot ${index} is indexed wrongly`);
    }
  }

  /** A prefix that is copied again and again is cheaper as a snapshot: restoring moves used cells only. */
  private publish(source: PrefixSource & { kind: 'copy' }, target: Slot): PrefixSource {
    const { donor, tokens } = source;
    const held = donor.owner ? donor.owner.computed() : donor.cached;
    const restoreMs = this.costs.restoreMs(held.length);
    const firstMs = restoreMs + (donor.uses > 1 ? 0 : this.costs.saveMs(held.length));
    if (firstMs >= this.costs.copyMs || !this.planned.mayRestoreInto(target.index)) return source;
    const snapshot = this.save(donor, held, Number.POSITIVE_INFINITY);
    return snapshot ? { kind: 'snapshot', tokens, snapshot } : source;
  }

  private parks(slot: Slot, tokens: Uint32Array, recomputeMs: number): boolean {
    const savingMs = recomputeMs * this.eviction.rateOf(slot);
    const saveMs = this.costs.saveMs(tokens.length);
    const fileMs = saveMs + this.costs.restoreMs(tokens.length);
    const isTrial = savingMs <= fileMs;
    if (isTrial && (slot.isBulk || recomputeMs <= trialFactor * fileMs || this.trialSaveMs < saveMs))
      return false;
    if (!this.planned.fitsSave(saveMs, recomputeMs, this.costs.passMs)) return false;
    const worthMs = this.eviction.worthMs(slot, recomputeMs);
    if (!this.save(slot, tokens, Math.max(worthMs, savingMs))) return false;
    if (isTrial) this.trialSaveMs -= saveMs;
    this.count('saved');
    return true;
  }

  /** @returns null when there is no room, or the slot does not hold exactly these tokens yet */
  private save(slot: Slot, tokens: Uint32Array, worthMs: number): Snapshot | null {
    if (slot.kvTokens !== tokens.length || !this.planned.maySave(slot.index)) return null;
    const snapshot = this.snapshots.add(slot.cacheSalt, tokens, worthMs);
    if (!snapshot) return null;
    snapshot.uses = slot.uses;
    snapshot.isBulk = slot.isBulk;
    this.planned.save(slot.index, snapshot.id, tokens, this.costs.saveMs(tokens.length));
    return snapshot;
  }

  /** What nobody else holds of a slot's cache, in milliseconds of prefill. */
  private lostPrefillMs(slot: Slot, keptTokens: number): number {
    const { length } = slot.cached;
    const safe = Math.max(keptTokens, this.index.sharedLength(slot));
    return length > safe ? this.costs.prefillMs(length - safe, safe) : 0;
  }

  private record(sequence: Sequence, kind: ReuseKind | 'cold', tokens: number): void {
    const isImported = kind === 'copy' || kind === 'snapshot';
    const reuse = isImported && sequence.waitedForPrefix ? 'wait-and-copy' : kind;
    this.stats.queriedTokens += sequence.spec.prompt.length;
    this.stats.starts[reuse] += 1;
    if (reuse !== 'cold') this.stats.hitTokens[reuse] += tokens;
    if (sequence.waitedForPrefix && !isImported) this.stats.waitsInVain += 1;
  }
}

function availableTokens(holder: Slot | Snapshot): number {
  if (holder.kind === 'snapshot') return holder.tokens;
  if (holder.owner === null) return holder.cached.length;
  return holder.kvTokens === null ? 0 : Math.min(holder.kvTokens, holder.owner.computedTokens);
}
