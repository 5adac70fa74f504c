import { BulkSharing } from './bulk-sharing.js';
import type { CostModel } from './cost-model.js';
import { countPasses } from './pass-count.js';
import { automaticItlFactor, type SchedulingPolicy } from './policy.js';
import type { SchedulerConfig } from './ports.js';
import { minimumChunkTokens, PrefillBudget } from './prefill-budget.js';
import type { Sequence } from './sequence.js';
import { isBulk } from './sequence-spec.js';
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
    return this.costs.predictMs({ passes: 1, tokens: slotCount, sampledRows: slotCount, attendedTokens });
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
        ? this.prefillBudget.grant(demand, freeTokens)
        : this.prefillBudget.grantWithin(tickMs, demand, freeTokens);
    const shares = shareTokens(decoding, prefilling, prefillTokens);
    fuseChunks(running, shares, prefillTokens, this.config.batchTokens);
    return shares;
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
    const rows = decoding.map(({ slot }) => ({ slot: slot!, tokens: oneToken }));
    return {
      passes: countPasses(rows, this.config.batchTokens),
      tokens: decoding.length,
      sampledRows: decoding.length,
      attendedTokens: decoding.reduce((sum, { computedTokens }) => sum + computedTokens + 1, 0),
    };
  }
}
