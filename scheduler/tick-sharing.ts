import { BulkSharing } from './bulk-sharing.js';
import type { CostModel } from './cost-model.js';
import { chooseGapSlots } from './gap-filling.js';
import { passesOf } from './pass-count.js';
import { automaticItlFactor, type SchedulingPolicy, wholePromptsFactor } from './policy.js';
import type { Filler, SchedulerConfig } from './ports.js';
import { affordableTokens, minimumChunkTokens, PrefillBudget, type PrefillDemand } from './prefill-budget.js';
import type { Sequence } from './sequence.js';
import { isBulk } from './sequence-spec.js';
import type { Slot } from './slot.js';
import type { TickCosts } from './tick-costs.js';
import { fuseChunks, lateness, orderPrefills, shareTokens } from './tick-planner.js';
import type { TickWork } from './tick-work.js';

const oneToken = new Uint32Array(1);
/** As long after the last sequence of another class, whoever comes next must not find a long tick of bulk work. */
const cautionMs = 5_000;
/** What such a tick may take, in decodes with all slots busy. */
const bulkTickFactor = 1.5;

/** Decides how many tokens each running sequence gets in a tick. */
export class TickSharing {
  private readonly config: SchedulerConfig;
  private readonly policy: SchedulingPolicy;
  private readonly costs: TickCosts;
  private readonly prefillBudget = new PrefillBudget();
  private readonly bulkSharing = new BulkSharing();
  private cautiousUntilMs = Number.NEGATIVE_INFINITY;

  constructor(config: SchedulerConfig, policy: SchedulingPolicy, costs: TickCosts) {
    this.config = config;
    this.policy = policy;
    this.costs = costs;
  }

  /** Milliseconds that prefill must not push the gap between two tokens over; 0: no target. */
  get itlTargetMs(): number {
    const { itlTargetMs } = this.policy;
    if (itlTargetMs !== null) return itlTargetMs;
    return automaticItlFactor * this.fullDecodeMs;
  }

  private get fullDecodeMs(): number {
    const { slotCount, contextTokens } = this.config;
    const attendedTokens = (slotCount * contextTokens) / 2;
    return this.costs.predictMs({
      passes: 1,
      tokens: slotCount,
      sampledRows: slotCount,
      attendedTokens,
      leftoverTokens: 0,
    });
  }

  /**
   * @param running ascending by slot
   * @returns tokens per sequence; sequences without an entry sit this tick out
   */
  share(running: readonly Sequence[], nowMs: number): Map<Sequence, number> {
    const { itlTargetMs } = this.policy;
    const bulk = itlTargetMs === 0 ? [] : running.filter(({ spec }) => isBulk(spec));
    if (bulk.length < running.length) this.cautiousUntilMs = nowMs + cautionMs;
    if (bulk.length === 0) return this.shareAmong(running, nowMs, null);
    if (bulk.length === running.length) return this.shareAmong(bulk, nowMs, this.bulkTickMs(nowMs));
    const others = running.filter((sequence) => !isBulk(sequence.spec));
    const shares = this.shareAmong(others, nowMs, null);
    this.bulkSharing.addRows({
      ...{ shares, bulk, itlTargetMs: itlTargetMs ?? 0, fullDecodeMs: this.fullDecodeMs },
      ...{ model: this.modelFor(this.decodeWork(others)), batchTokens: this.config.batchTokens },
    });
    return shares;
  }

  /** Whether a running sequence can be without a row for the sake of others. */
  maySitOut(sequence: Sequence, running: Iterable<Sequence>): boolean {
    if (this.policy.itlTargetMs === 0 || !isBulk(sequence.spec)) return false;
    for (const { spec } of running) if (!isBulk(spec)) return true;
    return false;
  }

  /** Nobody reads along, but somebody may come soon. */
  private bulkTickMs(nowMs: number): number {
    return nowMs < this.cautiousUntilMs ? bulkTickFactor * this.fullDecodeMs : Number.POSITIVE_INFINITY;
  }

  /**
   * @param tickMs that the tick may take with nobody who reads along; null: there are readers
   */
  private shareAmong(
    running: readonly Sequence[],
    nowMs: number,
    tickMs: number | null,
  ): Map<Sequence, number> {
    const decoding = running.filter((sequence) => sequence.pendingTokens === 1);
    const waitingForPrefill = running.filter((sequence) => sequence.pendingTokens > 1);
    if (waitingForPrefill.length === 0) return shareTokens(decoding, [], 0);
    const decodeWork = this.decodeWork(decoding);
    const model = this.modelFor(decodeWork);
    const { perTokenMs } = model.coefficients;
    const prefilling = orderPrefills(waitingForPrefill, nowMs, perTokenMs, this.policy.ttftTargetsMs);
    const latest = Math.max(...prefilling.map((each) => lateness(each, nowMs, this.policy.ttftTargetsMs)));
    const demand = {
      itlTargetMs: this.itlTargetMs * (1 + Math.min(1, latest)),
      decodeMs: decoding.length === 0 ? 0 : model.predictMs(decodeWork),
      cost: model.coefficients,
      firstPosition: prefilling[0]!.computedTokens,
      pendingTokens: prefilling.reduce((sum, sequence) => sum + sequence.pendingTokens, 0),
    };
    const freeTokens = this.config.batchTokens - decoding.length;
    const prefillTokens =
      tickMs === null
        ? (this.wholePromptTokens(prefilling, demand) ?? this.prefillBudget.grant(demand, freeTokens))
        : this.prefillBudget.grantWithin(tickMs, demand, freeTokens);
    const shares = shareTokens(decoding, prefilling, prefillTokens);
    const mayShrink = decoding.length > 0 && this.policy.itlTargetMs !== 0 && tickMs === null;
    const cost = model.coefficients;
    fuseChunks(running, shares, prefillTokens, this.config.batchTokens, { cost, mayShrink });
    return shares;
  }

  /** Tokens of the first few prompts, all short, if these may be finished at once; null: the usual budget is for them. */
  private wholePromptTokens(prefilling: readonly Sequence[], demand: PrefillDemand): number | null {
    if (this.policy.itlTargetMs !== null || demand.decodeMs === 0) return null;
    const usualTokens = affordableTokens(demand);
    const itlTargetMs = wholePromptsFactor * demand.itlTargetMs;
    const mostTokens = Math.min(
      affordableTokens({ ...demand, itlTargetMs }),
      this.config.batchTokens - this.config.slotCount,
    );
    let tokens = 0;
    for (const sequence of prefilling) {
      const isShort = sequence.known().length - sequence.cachedTokens <= mostTokens;
      if (!isShort && tokens < usualTokens) return null;
      if (!isShort || tokens + sequence.pendingTokens > mostTokens) break;
      tokens += sequence.pendingTokens;
    }
    return tokens === 0 ? null : tokens;
  }

  /**
   * Slots that would leave a gap between this tick's rows. A prompt that was to sit out gets one token of its own for it;
   * a free slot gets a filler.
   * @param slots ascending
   * @param shares changed in place
   */
  fillGaps(slots: readonly Slot[], shares: Map<Sequence, number>): Filler[] {
    if (shares.size < 2) return [];
    const rows = slots.flatMap(({ index, owner }) => {
      const length = owner && shares.get(owner);
      return length ? [{ slot: index, tokens: { length } }] : [];
    });
    const decoding = [...shares.keys()].filter(({ pendingTokens }) => pendingTokens === 1);
    const cost = this.modelFor(this.decodeWork(decoding)).coefficients;
    const priceOf = (index: number) => {
      const heldTokens = this.tokensBeforeGapToken(slots[index]!);
      return heldTokens === null ? null : cost.perTokenMs + cost.perAttendedTokenMs * (heldTokens + 1);
    };
    const { slotCount, batchTokens } = this.config;
    const chosen = chooseGapSlots(rows, slotCount, batchTokens, cost, priceOf);
    return chosen.flatMap((index) => {
      const { owner, kvTokens } = slots[index]!;
      if (!owner) return [{ slot: index, position: kvTokens! }];
      shares.set(owner, 1);
      return [];
    });
  }

  /** null: the slot cannot take one. Where tails cannot be cut, a filler could not be forgotten. */
  private tokensBeforeGapToken({ owner, kvTokens }: Slot): number | null {
    if (owner && isBulk(owner.spec)) return null;
    if (owner) return owner.isSettled && owner.pendingTokens > 1 ? owner.computedTokens : null;
    if (kvTokens === null || kvTokens >= this.config.contextTokens) return null;
    return this.config.reusePrefixes === false ? null : kvTokens;
  }

  /** Of the thread choice that is best for these decode rows and a small chunk. */
  private modelFor(decodeWork: TickWork): CostModel {
    return this.costs.bestModel({
      ...decodeWork,
      passes: decodeWork.passes + 1,
      tokens: decodeWork.tokens + minimumChunkTokens,
    });
  }

  private decodeWork(decoding: readonly Sequence[]): TickWork {
    const rows = decoding
      .map(({ slot }) => ({ slot: slot!, tokens: oneToken }))
      .sort((left, right) => left.slot - right.slot);
    return {
      ...passesOf(rows, this.config.batchTokens),
      tokens: decoding.length,
      sampledRows: decoding.length,
      attendedTokens: decoding.reduce((sum, { computedTokens }) => sum + computedTokens + 1, 0),
    };
  }
}
