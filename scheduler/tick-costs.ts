import { type CostCoefficients, CostModel } from './cost-model.js';
import type { TickWork } from './tick-work.js';

/** The machine may have changed: of the time spent since a choice was last used, this share may go into trying it. */
const trialShare = 0.02;
const minimumTicksBetweenTrials = 32;

interface Choice {
  threads: number;
  model: CostModel;
  lastUsedTick: number;
  lastUsedMs: number;
}

/**
 * What a tick costs with each number of threads, learned from every tick. More threads are not always faster: without
 * OpenMP each decode pays for its barriers, and a busy machine makes them many times dearer.
 */
export class TickCosts {
  private readonly choices: Choice[];
  private ticks = 0;
  private spentMs = 0;

  /** @param threadChoices numbers of threads a tick may use, at least one */
  constructor(threadChoices: readonly number[]) {
    this.choices = threadChoices.map((threads) => ({
      threads,
      model: new CostModel(),
      lastUsedTick: 0,
      lastUsedMs: 0,
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
    this.ticks += 1;
    const best = this.best(work);
    const bestMs = estimateMs(best, work);
    const isWorthTrying = (choice: Choice) =>
      this.ticks - choice.lastUsedTick >= minimumTicksBetweenTrials &&
      (this.spentMs - choice.lastUsedMs) * trialShare >= estimateMs(choice, work) - bestMs;
    const tried = this.choices.find((choice) => choice !== best && isWorthTrying(choice));
    return (tried ?? best).threads;
  }

  observe(work: TickWork, threads: number, measuredMs: number): void {
    const choice = this.choiceOf(threads);
    this.spentMs += measuredMs;
    choice.lastUsedTick = this.ticks;
    choice.lastUsedMs = this.spentMs;
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
