import type { Ledger } from '../ledger.js';

/** For so long after another class has run, ticks of bulk work alone are kept short. */
const cautionMs = 5_000;

/** Whether bulk work runs alone, and soon after another class. */
export class Caution {
  private othersRanMs = Number.NEGATIVE_INFINITY;

  /** To be asked at every plan. */
  isDue({ running }: Ledger, clockMs: number): boolean {
    const isBulkAlone = [...running].every(({ spec }) => spec.priorityClass === 'batch');
    if (!isBulkAlone) this.othersRanMs = clockMs;
    return isBulkAlone && clockMs - this.othersRanMs < cautionMs;
  }
}
