import { type CostCoefficients, CostModel, cellKey, median } from './cost-model.js';
import type { TickWork } from './tick-work.js';

/** The first trial of a choice may cost this share of the time that its shape took without it ... */
const firstTrialShare = 0.02;
/** ... the next half as much, and so on while trials fail, down to this share. */
const leastTrialShare = 0.005;
/** What a trial is taken to cost at least and at most, in calls with the best choice. */
const leastLossCalls = 0.05;
const mostLossCalls = 3;
/**
 * When the machine has changed, so many failed trials come early: the first after this many calls, the next after twice
 * as many, in calls that do not take much longer than usual.
 */
const earlyTrials = 4;
const pauseCalls = 4;
const longestEarlyTrial = 1.2;
/** Weight of the latest call in what is usual. */
const usualWeight = 0.05;
/** Fewer calls may all have been disturbed: the line through other shapes may know better. */
const callsToKnow = 3;
/** Calls are disturbed in one direction: nearly a third of the latest ones counts, not half of them, as the typical one does. */
const undisturbedShare = 0.3;

interface Choice {
  threads: number;
  model: CostModel;
  /** Calls of all shapes since it was used. */
  idleCalls: number;
  /** Trials in a row, of all shapes, that were slower than the best, since the machine changed. */
  failures: number;
}

/** What one shape (a cell of the cost model) knows of a choice. */
interface ShapeUse {
  /** Decode time of this shape since the choice was used for it. */
  idleMs: number;
  /** As `Choice.failures`, of this shape. */
  failures: number;
}

/**
 * What a tick costs with each number of threads, learned from every tick. More threads are not always faster: without
 * OpenMP each decode pays for its barriers, and a busy machine makes them many times dearer.
 */
export class TickCosts {
  private readonly choices: Choice[];
  private readonly shapes = new Map<number, Map<Choice, ShapeUse>>();
  /** Mean of the latest calls; 0: there was none. */
  private usualMs = 0;

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
    const { model } = this.best(work);
    return median(model.recentMs(work)) ?? model.predictMs(work);
  }

  /** The number of threads for a call, now and then one that may have become better. */
  chooseThreads(work: TickWork): number {
    const best = this.best(work);
    const tried = this.choices.find((choice) => choice !== best && this.isWorthTrying(work, choice, best));
    return (tried ?? best).threads;
  }

  /** A call that was made to be timed, not one of a tick: it says nothing about trials. */
  learn(work: TickWork, threads: number, measuredMs: number): void {
    this.choiceOf(threads).model.observe(work, measuredMs);
  }

  /** A call of a tick. */
  observe(work: TickWork, threads: number, measuredMs: number): void {
    const choice = this.choiceOf(threads);
    const best = this.best(work);
    const uses = this.usesOf(work);
    this.usualMs += (measuredMs - this.usualMs) * (this.usualMs === 0 ? 1 : usualWeight);
    for (const each of this.choices) {
      each.idleCalls += 1;
      uses.get(each)!.idleMs += measuredMs;
    }
    const use = uses.get(choice)!;
    choice.idleCalls = 0;
    use.idleMs = 0;
    if (choice !== best) {
      const hasFailed = measuredMs > estimateMs(best, work);
      choice.failures = hasFailed ? choice.failures + 1 : 0;
      use.failures = hasFailed ? use.failures + 1 : 0;
    }
    if (choice.model.observe(work, measuredMs)) this.forgetFailures();
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
    const isEarly = choice.failures < earlyTrials && choice.idleCalls >= pauseCalls * 2 ** choice.failures;
    if (isEarly && bestMs <= longestEarlyTrial * this.usualMs) return true;
    const { idleMs, failures } = this.usesOf(work).get(choice)!;
    const lossCalls = leastMs(choice, work) / bestMs - 1;
    const lossMs = bestMs * Math.min(mostLossCalls, Math.max(leastLossCalls, lossCalls));
    return idleMs * Math.max(leastTrialShare, firstTrialShare / 2 ** failures) >= lossMs;
  }

  private forgetFailures(): void {
    for (const use of [...this.choices, ...[...this.shapes.values()].flatMap((uses) => [...uses.values()])]) {
      use.failures = 0;
    }
  }

  private usesOf(work: TickWork): Map<Choice, ShapeUse> {
    const key = cellKey(work);
    const known = this.shapes.get(key);
    if (known) return known;
    const uses = new Map(this.choices.map((choice) => [choice, { idleMs: 0, failures: 0 }]));
    this.shapes.set(key, uses);
    return uses;
  }

  private choiceOf(threads: number): Choice {
    const choice = this.choices.find((candidate) => candidate.threads === threads);
    if (!choice) throw new RangeError(`${threads} threads are not among the choices`);
    return choice;
  }
}

/** By the undisturbed ones among the latest calls. */
function estimateMs({ model }: Choice, work: TickWork): number {
  const recentMs = model.recentMs(work);
  return recentMs[Math.floor((recentMs.length - 1) * undisturbedShare)] ?? model.predictMs(work);
}

function leastMs({ model }: Choice, work: TickWork): number {
  const recentMs = model.recentMs(work);
  return recentMs.length < callsToKnow ? Math.min(model.predictMs(work), ...recentMs) : recentMs[0]!;
}
