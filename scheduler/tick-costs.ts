import { type CostCoefficients, CostModel, cellKey } from './cost-model.js';
import type { TickWork } from './tick-work.js';

/** The machine may have changed: this share of all time may go into trying what looks slower. */
const trialShare = 0.02;
/** Calls of the same shape; twice as many after every failed trial in a row, at most 2 ** longestBackoff times as many. */
const minimumCallsBetweenTrials = 32;
const longestBackoff = 3;
/** A choice that a shape has never seen is tried after so few calls, unless it looks this much slower. */
const callsBeforeFirstTrial = 2;
const hopelessFactor = 1.5;

interface Choice {
  threads: number;
  model: CostModel;
}

/** The calls of one shape (a cell of the cost model). */
interface ShapeUse {
  calls: number;
  /** `calls` when a choice was last used, and how often in a row it was slower than the best then. */
  lastUse: Map<Choice, { call: number; failures: number }>;
}

/**
 * What a tick costs with each number of threads, learned from every tick. More threads are not always faster: without
 * OpenMP each decode pays for its barriers, and a busy machine makes them many times dearer.
 */
export class TickCosts {
  private readonly choices: Choice[];
  private readonly shapes = new Map<number, ShapeUse>();
  /** What trials may cost now. */
  private trialBudgetMs = 0;

  /** @param threadChoices numbers of threads a tick may use, at least one */
  constructor(threadChoices: readonly number[]) {
    this.choices = threadChoices.map((threads) => ({ threads, model: new CostModel() }));
  }

  model(threads: number): CostModel {
    return this.choiceOf(threads).model;
  }

  summary(): { threads: number; coefficients: CostCoefficients; relativeError: number }[] {
    return this.choices.map(({ threads, model: { coefficients, relativeError } }) => ({
      threads,
      coefficients,
      relativeError,
    }));
  }

  predictMs(work: TickWork): number {
    return Math.min(...this.choices.map((choice) => estimateMs(choice, work)));
  }

  /** The number of threads for a call, now and then one that may have become better. */
  chooseThreads(work: TickWork): number {
    const best = this.best(work);
    const bestMs = estimateMs(best, work);
    const use = this.useOf(work);
    const tried = this.choices.find(
      (choice) => choice !== best && this.isWorthTrying(use, choice, estimateMs(choice, work), bestMs),
    );
    return (tried ?? best).threads;
  }

  /** A call that was made to be timed: what it lost is not charged to the trials, which could not begin for minutes. */
  learn(work: TickWork, threads: number, measuredMs: number): void {
    this.choiceOf(threads).model.observe(work, measuredMs);
  }

  /** A call of a tick. */
  observe(work: TickWork, threads: number, measuredMs: number): void {
    const choice = this.choiceOf(threads);
    const use = this.useOf(work);
    use.calls += 1;
    this.trialBudgetMs += trialShare * measuredMs;
    const best = this.best(work);
    const lossMs = choice === best ? 0 : Math.max(0, measuredMs - estimateMs(best, work));
    this.trialBudgetMs -= lossMs;
    const failures = lossMs === 0 ? 0 : (use.lastUse.get(choice)?.failures ?? 0) + 1;
    use.lastUse.set(choice, { call: use.calls, failures });
    choice.model.observe(work, measuredMs);
  }

  /** The model of the choice that is fastest for a call like this. */
  bestModel(work: TickWork): CostModel {
    return this.best(work).model;
  }

  private best(work: TickWork): Choice {
    return this.choices.reduce((best, choice) =>
      estimateMs(choice, work) < estimateMs(best, work) ? choice : best,
    );
  }

  private isWorthTrying(use: ShapeUse, choice: Choice, estimatedMs: number, bestMs: number): boolean {
    if (this.trialBudgetMs < estimatedMs - bestMs) return false;
    const last = use.lastUse.get(choice);
    if (!last && use.calls >= callsBeforeFirstTrial && estimatedMs <= hopelessFactor * bestMs) return true;
    const { call, failures } = last ?? { call: 0, failures: 0 };
    const pauseCalls = minimumCallsBetweenTrials * 2 ** Math.min(failures, longestBackoff);
    return use.calls - call >= pauseCalls;
  }

  private useOf(work: TickWork): ShapeUse {
    const key = cellKey(work);
    const known = this.shapes.get(key);
    if (known) return known;
    const use = { calls: 0, lastUse: new Map() };
    this.shapes.set(key, use);
    return use;
  }

  private choiceOf(threads: number): Choice {
    const choice = this.choices.find((candidate) => candidate.threads === threads);
    if (!choice) throw new RangeError(`${threads} threads are not among the choices`);
    return choice;
  }
}

function estimateMs({ model }: Choice, work: TickWork): number {
  return model.measuredMs(work) ?? model.predictMs(work);
}
