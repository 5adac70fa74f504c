import { chunkMs } from './attention.js';
import { BulkSharing } from './bulk-sharing.js';
import type { CostCoefficients, CostModel } from './cost-model.js';
import { chooseGapSlots } from './gap-filling.js';
import { PaddedRows } from './padded-rows.js';
import type { RowShape } from './pass-count.js';
import {
  automaticItlFactor,
  latePromptsFactor,
  type SchedulingPolicy,
  wholePromptsFactor,
} from './policy.js';
import type { Filler, SchedulerConfig } from './ports.js';
import { affordableTokens, minimumChunkTokens, PrefillBudget, type PrefillDemand } from './prefill-budget.js';
import type { Sequence } from './sequence.js';
import { isBulk } from './sequence-spec.js';
import type { Slot } from './slot.js';
import { chooseTails } from './tail-padding.js';
import type { TickCosts } from './tick-costs.js';
import {
  fuseChunks,
  keepFirstPasses,
  lateness,
  orderPrefills,
  rowOf,
  rowsOf,
  shareTokens,
} from './tick-planner.js';
import type { TickWork } from './tick-work.js';
import { workOf } from './work-of.js';

/** As long after the last sequence of another class, whoever comes next must not find a long tick of bulk work. */
const cautionMs = 5_000;
/** What such a tick may take, in decodes with all slots busy: whoever comes waits for it to end. */
const cautiousTickFactor = 0.2;

export interface TickShares {
  /** Tokens per sequence; sequences without an entry sit this tick out. */
  shares: Map<Sequence, number>;
  fillers: Filler[];
}

/** Those who share a tick before bulk work gets what they leave. */
interface Riders {
  running: readonly Sequence[];
  decoding: readonly Sequence[];
  decodeWork: TickWork;
  model: CostModel;
}

/** Decides how many tokens each running sequence gets in a tick. */
export class TickSharing {
  private readonly config: SchedulerConfig;
  private readonly policy: SchedulingPolicy;
  private readonly costs: TickCosts;
  private readonly prefillBudget = new PrefillBudget();
  private readonly bulkSharing = new BulkSharing();
  /** Predicted milliseconds of the calls of prefill that whoever decodes has just sat out; null: none. */
  private satOutMs: number | null = null;
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

  /** @param slots ascending */
  share(slots: readonly Slot[], nowMs: number): TickShares {
    const running = slots.flatMap(({ owner }) => (owner?.isSettled ? owner : []));
    const bulk = running.filter((sequence) => this.leavesFirst(sequence));
    const others = running.filter((sequence) => !this.leavesFirst(sequence));
    if (others.length > 0) this.cautiousUntilMs = nowMs + cautionMs;
    const tickMs = others.length > 0 ? null : this.bulkTickMs(nowMs);
    const riders = this.ridersOf(others.length > 0 ? others : this.withinTick(bulk, tickMs!));
    const satOutMs = this.satOutMs;
    const shares = this.shareAmong(riders, nowMs, tickMs);
    if (others.length === 0) this.bulkSharing.ride(shares.keys());
    else if (bulk.length > 0) {
      this.bulkSharing.addRows({
        shares,
        bulk,
        mayRide: this.satOutMs === null,
        satOutMs: satOutMs ?? 0,
        itlTargetMs: this.policy.itlTargetMs ?? 0,
        fullDecodeMs: this.fullDecodeMs,
        model: riders.model,
        batchTokens: this.config.batchTokens,
      });
    }
    const cost = riders.model.coefficients;
    const padded = new PaddedRows(shapesOf(slots, shares), this.config.batchTokens, cost);
    const fillers = [
      ...this.fillGaps(slots, shares, padded, cost, others.length === 0),
      ...this.padTails(slots, shares, padded, cost),
    ];
    return { shares, fillers: fillers.sort((left, right) => left.slot - right.slot) };
  }

  /** Whether a running sequence can be without a row for the sake of others. */
  maySitOut(sequence: Sequence, running: ReadonlySet<Sequence>, nowMs: number): boolean {
    if (this.policy.itlTargetMs === 0) return false;
    if ([...running].some((each) => each.isSettled && !isDecoding(each))) return true;
    if (!this.leavesFirst(sequence)) return false;
    return this.isCautious(nowMs) || [...running].some((each) => !this.leavesFirst(each));
  }

  private leavesFirst({ spec }: Sequence): boolean {
    return this.policy.itlTargetMs !== 0 && isBulk(spec);
  }

  /** Bulk work may be alone, but somebody may come soon. */
  private isCautious(nowMs: number): boolean {
    return nowMs < this.cautiousUntilMs;
  }

  private bulkTickMs(nowMs: number): number {
    return this.isCautious(nowMs) ? cautiousTickFactor * this.fullDecodeMs : Number.POSITIVE_INFINITY;
  }

  /** Of those who decode as many as a tick may carry, in turn. @param bulk ascending by slot, as is the result */
  private withinTick(bulk: readonly Sequence[], tickMs: number): readonly Sequence[] {
    if (tickMs === Number.POSITIVE_INFINITY) return bulk;
    const fits = (sequences: readonly Sequence[]) => {
      const { model, decodeWork } = this.ridersOf(sequences);
      return model.predictMs(decodeWork) <= tickMs;
    };
    const chosen = this.bulkSharing.nextInTurn(bulk.filter(isDecoding), fits);
    return bulk.filter((sequence) => !isDecoding(sequence) || chosen.has(sequence));
  }

  /** @param running ascending by slot */
  private ridersOf(running: readonly Sequence[]): Riders {
    const decoding = running.filter(isDecoding);
    const rows = decoding.map((sequence) => rowOf(sequence, 1));
    const decodeWork = workOf(rows, this.config.batchTokens);
    return { running, decoding, decodeWork, model: this.modelFor(decodeWork) };
  }

  /**
   * Decoding and prefill take turns where gaps between tokens count. In one call they would not share a pass
   * but for one token each, and only wait for each other; apart, tokens leave before the prefill that
   * follows, and a prompt that comes while others decode does not wait for a prefill as well.
   * @param tickMs that the tick may take with nobody who reads along; null: there are readers
   */
  private shareAmong(riders: Riders, nowMs: number, tickMs: number | null): Map<Sequence, number> {
    const { running, decoding, decodeWork, model } = riders;
    const hasReaders = decoding.some(({ generatedTokens }) => generatedTokens > 0);
    const takeTurns = hasReaders && this.policy.itlTargetMs !== 0 && tickMs !== Number.POSITIVE_INFINITY;
    const satOutMs = takeTurns ? this.satOutMs : null;
    this.satOutMs = null;
    const waitingForPrefill = running.filter((sequence) => sequence.pendingTokens > 1);
    if (waitingForPrefill.length === 0) return shareTokens(decoding, [], 0);
    const cost = model.coefficients;
    const prefilling = orderPrefills(waitingForPrefill, nowMs, cost.perTokenMs, this.policy.ttftTargetsMs);
    const latest = Math.max(...prefilling.map((each) => lateness(each, nowMs, this.policy.ttftTargetsMs)));
    const demand = {
      itlTargetMs: this.itlTargetMs * (1 + (latePromptsFactor - 1) * Math.min(1, latest)),
      decodeMs: decoding.length === 0 ? 0 : model.predictMs(decodeWork) + (satOutMs ?? 0),
      cost,
      firstPosition: prefilling[0]!.computedTokens,
      pendingTokens: prefilling.reduce((sum, sequence) => sum + sequence.pendingTokens, 0),
    };
    const freeTokens = this.config.batchTokens - (takeTurns ? 0 : decoding.length);
    const prefillTokens = this.prefillTokens(prefilling, demand, freeTokens, {
      tickMs,
      isBegun: satOutMs !== null,
    });
    const isPrefillTurn = takeTurns && prefillTokens > 0;
    const shares = shareTokens(isPrefillTurn ? [] : decoding, prefilling, prefillTokens);
    const mayShrink = decoding.length > 0 && this.policy.itlTargetMs !== 0 && tickMs === null;
    fuseChunks(running, shares, prefillTokens, this.config.batchTokens, { cost, mayShrink });
    if (isPrefillTurn) {
      if (tickMs === null) keepFirstPasses(running, prefilling, shares, this.config.batchTokens);
      const work = workOf(rowsOf(shares), this.config.batchTokens);
      this.satOutMs = (satOutMs ?? 0) + model.predictMs(work);
    }
    return shares;
  }

  /** @param turn isBegun: others have sat out a call of prefill already, this one is only if it fits as well */
  private prefillTokens(
    prefilling: readonly Sequence[],
    demand: PrefillDemand,
    freeTokens: number,
    { tickMs, isBegun }: { tickMs: number | null; isBegun: boolean },
  ): number {
    if (tickMs !== null) return isBegun ? 0 : this.prefillBudget.grantWithin(tickMs, demand, freeTokens);
    const wholeTokens = this.wholePromptTokens(prefilling, demand);
    if (wholeTokens !== null) return wholeTokens;
    if (!isBegun) return this.prefillBudget.grant(demand, freeTokens);
    const tokens = Math.min(affordableTokens(demand), freeTokens);
    return tokens >= Math.min(minimumChunkTokens, demand.pendingTokens) ? tokens : 0;
  }

  /**
   * Tokens of the first few prompts, all short, if these may be finished at once; null: the usual budget is
   * for them.
   */
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
   * Slots that would leave a gap between this tick's rows. A prompt that was to sit out gets one token of its
   * own for it; a free slot gets a filler.
   * @param slots ascending
   * @param shares changed in place
   */
  private fillGaps(
    slots: readonly Slot[],
    shares: Map<Sequence, number>,
    padded: PaddedRows,
    cost: CostCoefficients,
    isBulkAlone: boolean,
  ): Filler[] {
    const priceOf = (index: number) => {
      const heldTokens = this.tokensBeforeGapToken(slots[index]!, isBulkAlone);
      return heldTokens === null ? null : chunkMs(cost, 1, heldTokens);
    };
    return chooseGapSlots(padded, this.config.slotCount, priceOf).flatMap((index) => {
      const { owner, kvTokens } = slots[index]!;
      if (!owner) return [{ slot: index, position: kvTokens!, tokens: 1 }];
      shares.set(owner, 1);
      return [];
    });
  }

  /** Fillers behind chunks of prompt. */
  private padTails(
    slots: readonly Slot[],
    shares: ReadonlyMap<Sequence, number>,
    padded: PaddedRows,
    cost: CostCoefficients,
  ): Filler[] {
    const { contextTokens, reusePrefixes } = this.config;
    if (reusePrefixes === false) return [];
    const chunkOf = (index: number) => {
      const owner = slots[index]!.owner!;
      return { first: owner.computedTokens, length: shares.get(owner)! };
    };
    const priceOf = (index: number, tokens: number) => {
      const { first, length } = chunkOf(index);
      if (first + length + tokens > contextTokens) return null;
      return chunkMs(cost, length + tokens, first) - chunkMs(cost, length, first);
    };
    return [...chooseTails(padded, priceOf)].map(([slot, tokens]) => {
      const { first, length } = chunkOf(slot);
      return { slot, position: first + length, tokens };
    });
  }

  /** null: the slot cannot take one. Where tails cannot be cut, a filler could not be forgotten. */
  private tokensBeforeGapToken({ owner, kvTokens }: Slot, isBulkAlone: boolean): number | null {
    if (owner && this.leavesFirst(owner) && !isBulkAlone) return null;
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
}

function isDecoding({ pendingTokens }: Sequence): boolean {
  return pendingTokens === 1;
}

/** @param slots ascending */
function shapesOf(slots: readonly Slot[], shares: ReadonlyMap<Sequence, number>): RowShape[] {
  return slots.flatMap(({ index, owner }) => {
    const length = owner && shares.get(owner);
    return length ? [{ slot: index, tokens: { length } }] : [];
  });
}
