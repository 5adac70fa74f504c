import { type CostCoefficients, CostModel } from './cost-model.js';
import type { TickWork } from './tick-work.js';

/** A choice that was not tried for this many ticks is tried again: the machine may have changed. */
const ticksPerTrial = 256;
/** A trial may cost this many times the best choice; the limit doubles with every trial interval left out. */
const trialCostFactor = 3;

interface Choice {
  threads: number;
  model: CostModel;
  lastTriedTick: number;
}

/**
 * What a tick costs with each number of threads, learned from every tick. More threads are not always faster: without
 * OpenMP each decode pays for its barriers, and a busy machine makes them many times dearer.
 */
export class TickCosts {
  private readonly choices: Choice[];
  private ticks = 0;

  /** @param threadChoices numbers of threads a tick may use, at least one */
  constructor(threadChoices: readonly number[]) {
    this.choices = threadChoices.map((threads) => ({ threads, model: new CostModel(), lastTriedTick: 0 }));
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
    this.ticks += 1;
    const best = this.best(work);
    const bestMs = estimateMs(best, work);
    for (const choice of this.choices) {
      const trialsLeftOut = Math.floor((this.ticks - choice.lastTriedTick) / ticksPerTrial);
      if (choice === best || trialsLeftOut === 0) continue;
      if (estimateMs(choice, work) <= bestMs * trialCostFactor * 2 ** (trialsLeftOut - 1)) {
        choice.lastTriedTick = this.ticks;
        return choice.threads;
      }
    }
    return best.threads;
  }

  observe(work: TickWork, threads: number, measuredMs: number): void {
    const choice = this.choiceOf(threads);
    choice.lastTriedTick = this.ticks;
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

  private choiceOf(threads: number): Choice {
    const choice = this.choices.find((candidate) => candidate.threads === threads);
    if (!choice) throw new RangeError(`${threads} threads are not among the choices`);
    return choice;
  }
}

function estimateMs({ model }: Choice, work: TickWork): number {
  return model.measuredMs(work) ?? model.predictMs(work);
}
