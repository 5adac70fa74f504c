import { bulkChunkTokens, bulkShare } from '../../../scheduler/bulk-sharing.js';
import { type Row, type TickPlan, type TickWork, workOf } from '../../../scheduler/index.js';
import type { LedgerEntry } from '../ledger.js';
import { splitEqualPasses } from '../split-equal.js';
import { require } from '../violation.js';
import { Caution } from './caution.js';
import type { Invariant, World } from './invariant.js';
import { leastChunkTokens } from './least-chunk.js';

const plannedShare = 0.9;
/** The models learn meanwhile, and each number of threads has its own. */
const patience = 4;
/** In full credits: what has sat out for so long can pay for anything. */
const longestSitting = 1.2;
/** Of a decode with all slots busy, when others may come. */
const cautiousShare = 0.2;

/**
 * What holds while bulk work runs beside other classes and an ITL target counts. `bulk-bounded`: by the scheduler's own
 * cost model its rows add no more than their share of the others' time, plus one full credit, unless a target that
 * somebody asked for leaves more. `bulk-moves`: it does not sit out longer than its share takes to buy something.
 * `bulk-takes-turns`: who has sat out longest rides first. `bulk-keeps-short`: soon after others, calls that carry more
 * than one row of it take no more than a quarter of a decode with all slots busy, or one documented minimum chunk.
 */
export class BulkWork implements Invariant {
  private readonly world: World;
  private readonly turns = new Map<number, number>();
  private ticks = 0;
  private fullCreditMs = 0;
  private earnedMs = 0;
  private spentMs = 0;
  private sittingMs = 0;
  private readonly caution = new Caution();

  constructor(world: World) {
    this.world = world;
  }

  planned(plan: TickPlan | null, clockMs: number): void {
    const { ledger, scenario } = this.world;
    const isCautious = this.caution.isDue(ledger, clockMs);
    if (!plan || scenario.policy.itlTargetMs === 0) return;
    const bulk = [...ledger.running].filter(({ spec }) => spec.priorityClass === 'batch');
    const ids = new Set(bulk.map(({ spec }) => spec.id));
    const others = plan.rows.filter(({ sequenceId }) => !ids.has(sequenceId));
    if (isCautious && plan.rows.length > 1) this.checkLength(plan);
    const hasRow = new Set(plan.rows.map(({ sequenceId }) => sequenceId));
    const riding = bulk.filter(({ spec }) => hasRow.has(spec.id));
    const sitting = bulk.filter(({ spec, computed }) => computed !== null && !hasRow.has(spec.id));
    if (others.length > 0 && bulk.length > 0) {
      this.checkTime(plan, others, sitting);
      this.checkTurns(riding, sitting);
    } else if (isCautious && riding.some(isDecoding)) {
      this.checkTurns(riding.filter(isDecoding), sitting.filter(isDecoding));
    }
    this.ticks += 1;
    for (const { spec } of riding) this.turns.set(spec.id, this.ticks);
  }

  private checkTime({ rows }: TickPlan, others: readonly Row[], sitting: readonly LedgerEntry[]): void {
    const { itlTargetMs } = this.world.scenario.policy;
    const bases = this.predictions(this.workOf(others));
    const baseMs = Math.max(...bases);
    this.fullCreditMs = Math.max(
      this.fullCreditMs,
      ...this.dearest().flatMap((work) => this.predictions(work)),
    );
    const added = this.predictions(this.workOf(rows)).map((ms, index) => ms - bases[index]!);
    const leftMs = itlTargetMs === null ? 0 : Math.max(0, plannedShare * itlTargetMs - Math.min(...bases));
    this.earnedMs += bulkShare * baseMs;
    this.spentMs += Math.max(0, Math.min(...added) - leftMs);
    require(this.spentMs <= this.earnedMs + patience * this.fullCreditMs, 'bulk-bounded', () =>
      `bulk rows took ${this.spentMs.toFixed(1)} ms of others, ${this.earnedMs.toFixed(1)} are theirs`);
    const otherTokens = others.reduce((sum, { tokens }) => sum + tokens.length, 0);
    const hasRoom = otherTokens + bulkChunkTokens <= this.world.scenario.config.batchTokens;
    if (rows.length > others.length || sitting.length === 0) this.sittingMs = 0;
    else if (hasRoom) this.sittingMs += Math.min(...bases);
    require(bulkShare * this.sittingMs <= longestSitting * this.fullCreditMs, 'bulk-moves', () =>
      `bulk work sits out for ${this.sittingMs.toFixed(1)} ms`);
  }

  private checkLength(plan: TickPlan): void {
    const { rows } = plan;
    const chunkTokens = rows.reduce((sum, { tokens }) => sum + (tokens.length > 1 ? tokens.length : 0), 0);
    if (chunkTokens > 0 && chunkTokens <= leastChunkTokens(this.world, plan)) return;
    const [fullDecode] = this.dearest();
    const callMs = Math.min(...this.predictions({ ...this.workOf(rows), passes: 1, leftoverTokens: 0 }));
    const limitMs = cautiousShare * Math.max(...this.predictions(fullDecode));
    require(callMs <= limitMs, 'bulk-keeps-short', () =>
      `bulk work alone takes ${callMs.toFixed(1)} ms, ${limitMs.toFixed(1)} are allowed`);
  }

  private checkTurns(riding: readonly LedgerEntry[], sitting: readonly LedgerEntry[]): void {
    const latest = Math.max(...riding.map(({ spec }) => this.turns.get(spec.id) ?? -1));
    for (const { spec } of sitting) {
      // Since when one waits that never rode is not told.
      const turn = this.turns.get(spec.id) ?? latest;
      require(turn >= latest, 'bulk-takes-turns', () =>
        `sequence ${spec.id} sits out since ${turn}, one that rode at ${latest} rides`);
    }
  }

  private workOf(rows: readonly Row[]): TickWork {
    const { batchTokens } = this.world.scenario.config;
    return { ...workOf(rows, batchTokens), passes: splitEqualPasses(rows, batchTokens) };
  }

  /** A decode with all slots busy, or a piece of prompt that splits the passes of others. */
  private dearest(): [fullDecode: TickWork, chunk: TickWork] {
    const { slotCount, contextTokens } = this.world.scenario.config;
    const work = (passes: number, tokens: number, sampledRows: number, heldTokens: number) => {
      return { passes, tokens, sampledRows, attendedTokens: tokens * heldTokens, leftoverTokens: 0 };
    };
    return [work(1, slotCount, slotCount, contextTokens / 2), work(3, bulkChunkTokens, 1, contextTokens)];
  }

  private predictions(work: TickWork): number[] {
    const { scenario, scheduler } = this.world;
    return scenario.policy.threadChoices.map((threads) => scheduler.costs.model(threads).predictMs(work));
  }
}

function isDecoding({ computed, pendingTokens }: LedgerEntry): boolean {
  return computed !== null && pendingTokens === 1;
}
