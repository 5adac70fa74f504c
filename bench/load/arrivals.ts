import type { Random } from './random.js';

export interface ArrivalOptions {
  ratePerSecond: number;
  durationSeconds: number;
  /**
   * Squared coefficient of variation of the gaps between arrivals is 1/shape (gamma gaps).
   * 1 is Poisson; below 1 bursty; above 1 smoother than Poisson.
   */
  gammaShape?: number;
}

/** Arrival times in ms from zero, ascending, computed before the run so that a slow server cannot slow them. */
export function arrivalScheduleMs(options: ArrivalOptions, random: Random): number[] {
  const { ratePerSecond, durationSeconds, gammaShape = 1 } = options;
  if (!(ratePerSecond > 0)) throw new RangeError(`arrival rate must be above 0, got ${ratePerSecond}`);
  const meanGapMs = 1000 / ratePerSecond;
  const arrivalsMs: number[] = [];
  let atMs = 0;
  for (;;) {
    atMs +=
      gammaShape === 1 ? random.exponential(meanGapMs) : random.gamma(gammaShape, meanGapMs / gammaShape);
    if (atMs >= durationSeconds * 1000) return arrivalsMs;
    arrivalsMs.push(atMs);
  }
}
