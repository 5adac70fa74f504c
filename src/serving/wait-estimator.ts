const minimumSeconds = 1;
/** The openai client ignores a Retry-After beyond this. */
const maximumSeconds = 60;
const forgettingMs = 30_000;

/** How soon a place in line opens, from the rate at which sequences finished lately. */
export class WaitEstimator {
  private rate = 0;
  private lastMs: number | null = null;

  finished(nowMs: number): void {
    if (this.lastMs !== null) {
      const gapMs = Math.max(1, nowMs - this.lastMs);
      const weight = 1 - Math.exp(-gapMs / forgettingMs);
      this.rate += weight * (1000 / gapMs - this.rate);
    }
    this.lastMs = nowMs;
  }

  /** @returns milliseconds until those who wait now have gone; 0 while nothing has finished yet */
  waitMs(waiting: number): number {
    return this.rate <= 0 ? 0 : (waiting / this.rate) * 1000;
  }

  /** Sequences per second. */
  get finishedPerSecond(): number {
    return this.rate;
  }

  /** @returns seconds for Retry-After until about half of those waiting are gone */
  retryAfterSeconds(waiting: number): number {
    if (this.rate <= 0) return minimumSeconds;
    return Math.min(maximumSeconds, Math.max(minimumSeconds, Math.ceil(waiting / 2 / this.rate)));
  }
}
