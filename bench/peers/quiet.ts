import { sleep } from '../load/drivers.js';
import { machineBusySeconds } from '../load/load-meter.js';

/** Cores that others may use before a measurement is not worth starting, or not worth keeping. */
export const noisyCores = 0.25;
const sampleMs = 2000;

/** Waits for others to leave the machine alone, within a budget for the whole comparison. */
export class QuietKeeper {
  private leftMs: number;

  constructor(budgetMs: number) {
    this.leftMs = budgetMs;
  }

  /** Whether a run in such company should be repeated. */
  isTooNoisy(foreignCores: number | undefined): boolean {
    return this.leftMs > 0 && foreignCores !== undefined && foreignCores > noisyCores;
  }

  /** Returns when the machine is idle or the budget is spent; at once without a budget. */
  async wait(signal: AbortSignal, say: (line: string) => void): Promise<void> {
    let hasSaid = false;
    while (this.leftMs > 0 && !signal.aborted) {
      const before = machineBusySeconds();
      const startedAtMs = performance.now();
      await sleep(sampleMs, signal);
      const elapsedMs = performance.now() - startedAtMs;
      this.leftMs -= elapsedMs;
      const after = machineBusySeconds();
      if (before === undefined || after === undefined) return;
      if (((after - before) * 1000) / elapsedMs <= noisyCores) return;
      if (!hasSaid) say(`waiting for a quiet machine (up to ${Math.ceil(this.leftMs / 60_000)} min in all)`);
      hasSaid = true;
    }
  }
}
