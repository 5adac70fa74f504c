import { type CostCoefficients, CostModel, cellKey, median } from './cost-model.js';
import type { TickWork } from './tick-work.js';

/** The machine may have changed: this share of all time may go into trying what looks slower. */
const trialShare = 0.02;
/** A choice that a shape has not used for so many of its calls is tried, however slow it was. */
const longestPauseCalls = 200;
/** So is one that no shape has used for so many calls; twice as many after every failed trial in a row. */
const pauseCalls = 4;
/** Fewer calls may all have been disturbed: the line through other shapes may know better. */
const callsToKnow = 3;

interface Choice {
  threads: number;
  model: CostModel;
  /** Calls of all shapes since it was used. */
  idleCalls: number;
  /** Trials in a row that were slower than the best, since the machine changed. */
  failures: number;
}

/** The calls of one shape (a cell of the cost model). */
interface ShapeUse {
  calls: number;
  /** `calls` when a choice was last used. */
  lastUse: Map<Choice, number>;
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
    this.choices = threadChoices.map((threads) => ({
      threads,
      model: new CostModel(),
      idleCalls: 0,
      failures: 0,
    }));
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
    const tried = this.choices.find((choice) => choice !== best && this.isWorthTrying(work, choice, best));
    return (tried ?? best).threads;
  }

  /** A call that was made to be timed: what it lost is not charged to the trials, which could not begin for minutes. */
  learn(work: TickWork, threads: number, measuredMs: number): void {
    this.choiceOf(threads).model.observe(work, measuredMs);
  }

  /** A call of a tick. */
  observe(work: TickWork, threads: number, measuredMs: number): void {
    const choice = this.choiceOf(threads);
    const best = this.best(work);
    const lossMs = choice === best ? 0 : Math.max(0, measuredMs - estimateMs(best, work));
    this.trialBudgetMs += trialShare * measuredMs - lossMs;
    const use = this.useOf(work);
    use.calls += 1;
    use.lastUse.set(choice, use.calls);
    for (const each of this.choices) each.idleCalls += 1;
    choice.idleCalls = 0;
    if (choice !== best) choice.failures = lossMs === 0 ? 0 : choice.failures + 1;
    if (choice.model.observe(work, measuredMs)) choice.failures = 0;
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

  /** Going by the quickest of its latest calls: others may have been disturbed. */
  private isWorthTrying(work: TickWork, choice: Choice, best: Choice): boolean {
    const bestMs = estimateMs(best, work);
    const lossMs = leastMs(choice, work) - bestMs;
    if (this.trialBudgetMs < Math.min(lossMs, bestMs)) return false;
    if (choice.idleCalls >= pauseCalls * 2 ** choice.failures) return true;
    const { calls, lastUse } = this.useOf(work);
    const idleCalls = calls - (lastUse.get(choice) ?? 0);
    if (idleCalls === 0) return false;
    return idleCalls >= longestPauseCalls || lossMs <= trialShare * idleCalls * bestMs;
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
  return median(model.recentMs(work)) ?? model.predictMs(work);
}

function leastMs({ model }: Choice, work: TickWork): number {
  const recentMs = model.recentMs(work);
  return recentMs.length < callsToKnow ? Math.min(model.predictMs(work), ...recentMs) : recentMs[0]!;
}
