import type { TickPlan } from '../../../scheduler/index.js';
import { latePromptsFactor, wholePromptsFactor } from '../../../scheduler/policy.js';
import type { LedgerEntry } from '../ledger.js';
import { splitEqualPasses } from '../split-equal.js';
import { require } from '../violation.js';
import { Caution } from './caution.js';
import type { Invariant, World } from './invariant.js';
import { leastChunkTokens } from './least-chunk.js';

const plannedShare = 0.9;

/**
 * Bulk work that runs beside other classes or soon after them, and an ITL target counts, is the business of `BulkWork`;
 * later it has no limit. `everyone-rides`: each decoding sequence has its one-token row, or with a target sits out together with all others,
 * for calls of prefill that fit under it together. `budget-spent`: without an ITL target, or with nobody
 * decoding, prefill takes all it can use of the batch, but for a part that is cut to the length of another to
 * share its passes. `itl-budget`: with a target, prefill takes no more than fits under it by the scheduler's
 * own cost model, or under `wholePromptsFactor` times the automatic one when no prompt is cut, except one
 * documented minimum chunk and single tokens that close a gap between rows.
 * `greedy-prefill`: at most one prompt gets a part of more than such a token.
 */
export class Budget implements Invariant {
  private readonly world: World;
  private readonly caution = new Caution();
  /** Sequences that decode and had no row in the latest tick, and the prompt tokens of the ticks that they sat out. */
  private satOut = new Set<number>();
  private satOutTokens = 0;

  constructor(world: World) {
    this.world = world;
  }

  planned(plan: TickPlan | null, clockMs: number): void {
    const { ledger, scenario } = this.world;
    const shares = new Map(plan?.rows.map((row) => [row.sequenceId, row.tokens.length]));
    const others = [...ledger.running].filter(({ spec }) => spec.priorityClass !== 'batch');
    const hasTarget = scenario.policy.itlTargetMs !== 0;
    const isBulkAlone = hasTarget && others.length === 0;
    const isCautious = this.caution.isDue(ledger, clockMs) && hasTarget;
    const judged = hasTarget && others.length > 0 ? others : ledger.running;
    const { unknown, decoding, prefilling } = this.sort(judged, shares, plan);
    if (plan) this.checkTurns(isCautious ? [] : decoding, shares, hasTarget);
    const parts = prefilling.filter(({ share, pendingTokens }) => share > 1 && share < pendingTokens);
    require(parts.length <= 1, 'greedy-prefill', () => `${parts.length} prompts get only a part`);
    const granted = prefilling.reduce((sum, { share }) => sum + share, 0);
    const chunkTokens = granted - prefilling.filter(({ share }) => share === 1).length;
    const wanted = prefilling.reduce((sum, each) => sum + each.pendingTokens, 0);
    if (isCautious) return;
    const isLimited = hasTarget && !isBulkAlone;
    if (isLimited && decoding.length > 0) {
      if (chunkTokens <= leastChunkTokens(this.world, plan)) return;
      const late = [...unknown, ...prefilling.map(({ entry }) => entry)];
      this.checkTarget(decoding, late, Math.max(chunkTokens, this.satOutTokens), parts.length === 0, clockMs);
    } else if (!isLimited || !unknown.some(({ delivered }) => delivered > 0)) {
      const possible = Math.min(wanted, scenario.config.batchTokens - decoding.length);
      const isSpent = unknown.length > 0 ? granted >= possible : granted === possible;
      const isFused = prefilling.some((each) => each !== parts[0] && each.share === parts[0]?.share);
      require(isSpent || isFused, 'budget-spent', () =>
        `${granted} prompt tokens planned, ${possible} were possible`);
    }
  }

  private checkTurns(
    decoding: readonly LedgerEntry[],
    shares: ReadonlyMap<number, number>,
    hasTarget: boolean,
  ): void {
    const isPrefillTurn = hasTarget && decoding.every(({ spec }) => !shares.has(spec.id));
    for (const { spec } of decoding) {
      require(isPrefillTurn || shares.get(spec.id) === 1, 'everyone-rides', () =>
        `sequence ${spec.id} decodes but has no row`);
    }
    const isLonger = isPrefillTurn && decoding.some(({ spec }) => this.satOut.has(spec.id));
    const tokens = [...shares.values()].reduce((sum, share) => sum + share, 0);
    this.satOutTokens = isPrefillTurn ? tokens + (isLonger ? this.satOutTokens : 0) : 0;
    this.satOut = new Set(isPrefillTurn ? decoding.map(({ spec }) => spec.id) : []);
  }

  private sort(entries: Iterable<LedgerEntry>, shares: ReadonlyMap<number, number>, plan: TickPlan | null) {
    // Those that wait for a prefix, or recompute, and have no row: what they could use cannot be known.
    const unknown: LedgerEntry[] = [];
    const decoding: LedgerEntry[] = [];
    const prefilling: { entry: LedgerEntry; pendingTokens: number; share: number }[] = [];
    for (const entry of entries) {
      const pendingTokens = this.pendingTokens(entry, plan);
      if (pendingTokens === null) unknown.push(entry);
      else if (pendingTokens === 1) decoding.push(entry);
      else prefilling.push({ entry, pendingTokens, share: shares.get(entry.spec.id) ?? 0 });
    }
    return { unknown, decoding, prefilling };
  }

  private pendingTokens(entry: LedgerEntry, plan: TickPlan | null): number | null {
    if (entry.computed !== null) return entry.pendingTokens;
    const row = plan?.rows.find(({ sequenceId }) => sequenceId === entry.spec.id);
    return row ? entry.known.length - row.firstPosition : null;
  }

  private checkTarget(
    decoding: readonly LedgerEntry[],
    prefilling: readonly LedgerEntry[],
    granted: number,
    isWhole: boolean,
    clockMs: number,
  ): void {
    const { scheduler, scenario } = this.world;
    const { ttftTargetsMs, threadChoices } = scenario.policy;
    const latest = Math.max(
      ...prefilling.map((entry) => (clockMs - entry.arrivalMs) / ttftTargetsMs[entry.spec.priorityClass] - 1),
    );
    const stretch = isWhole && scenario.policy.itlTargetMs === null ? wholePromptsFactor : 1;
    const lateness = 1 + (latePromptsFactor - 1) * Math.min(1, Math.max(0, latest));
    const targetMs = plannedShare * scheduler.itlTargetMs * stretch * lateness;
    const rows = decoding
      .map(({ slot }) => ({ slot, tokens: [0] }))
      .sort((left, right) => left.slot - right.slot);
    const work = {
      passes: splitEqualPasses(rows, scenario.config.batchTokens),
      tokens: rows.length,
      sampledRows: rows.length,
      attendedTokens: decoding.reduce((sum, { known }) => sum + known.length, 0),
      leftoverTokens: 0,
    };
    const leastMs = Math.min(
      ...threadChoices.map((threads) => {
        const model = scheduler.costs.model(threads);
        const { perPassMs, perTokenMs } = model.coefficients;
        return model.predictMs(work) + perPassMs + perTokenMs * granted;
      }),
    );
    require(leastMs <= targetMs * 1.000001, 'itl-budget', () =>
      `${granted} prompt tokens next to ${rows.length} decodes take ${leastMs.toFixed(2)} ms of ${targetMs.toFixed(2)}`);
  }
}
