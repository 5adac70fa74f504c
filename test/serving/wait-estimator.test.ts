import { describe, expect, it } from 'vitest';
import { WaitEstimator } from '../../src/serving/wait-estimator.js';

const full = { waiting: 50, slotCount: 8, cachedSlots: 0, emptySlots: 0 };
const nearlyIdle = { ...full, waiting: 0, cachedSlots: 7, emptySlots: 1 };

/** Sequences that finish one after the other. @returns when the last one did */
function finish(
  estimator: WaitEstimator,
  { count, gapMs, startMs = 0, occupancy = full }: Finishing,
): number {
  for (let index = 1; index <= count; index += 1) estimator.finished(startMs + index * gapMs, occupancy);
  return startMs + count * gapMs;
}

interface Finishing {
  count: number;
  gapMs: number;
  startMs?: number;
  occupancy?: typeof full;
}

describe('the wait in line', () => {
  it('makes Retry-After until about half of those who wait will be gone, between a second and a minute', () => {
    const estimator = new WaitEstimator();
    expect(estimator.retryAfterSeconds(1000)).toBe(1);
    finish(estimator, { count: 600, gapMs: 500 });
    expect(estimator.finishedPerSecond).toBeCloseTo(2, 2);
    expect([0, 19, 1000].map((waiting) => estimator.retryAfterSeconds(waiting))).toEqual([1, 5, 60]);
  });

  it('is known after a few sequences, not after half a minute', () => {
    const estimator = new WaitEstimator();
    expect(estimator.waitMs(50)).toBe(0);
    finish(estimator, { count: 5, gapMs: 100 });
    expect(estimator.waitMs(50)).toBeCloseTo(5_000);
    expect(estimator.finishedPerSecond).toBeCloseTo(10);
    expect(estimator.retryAfterSeconds(50)).toBe(3);
  });

  it('counts those that finish together', () => {
    const estimator = new WaitEstimator();
    for (let tick = 0; tick < 10; tick += 1) {
      finish(estimator, { count: 4, gapMs: 0, startMs: tick * 400 });
    }
    expect(estimator.finishedPerSecond).toBeGreaterThan(9.9);
    expect(estimator.finishedPerSecond).toBeLessThan(11);
  });

  it('is not that of hours in which little was asked for', () => {
    const estimator = new WaitEstimator();
    const busyMs = finish(estimator, { count: 20, gapMs: 100 });
    const idleMs = finish(estimator, { count: 50, gapMs: 60_000, startMs: busyMs, occupancy: nearlyIdle });
    expect(estimator.waitMs(50)).toBeCloseTo(5_000);
    finish(estimator, { count: 5, gapMs: 100, startMs: idleMs + 600_000 });
    expect(estimator.waitMs(50)).toBeCloseTo(5_000);
  });

  it('follows what changes', () => {
    const estimator = new WaitEstimator();
    const startMs = finish(estimator, { count: 100, gapMs: 100 });
    finish(estimator, { count: 200, gapMs: 1_000, startMs });
    expect(estimator.waitMs(50)).toBeGreaterThan(45_000);
  });
});
