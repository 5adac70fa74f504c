import { expect, it } from 'vitest';
import { WaitEstimator } from '../../src/serving/wait-estimator.js';

it('says when about half of those who wait will be gone, between one second and a minute', () => {
  const estimator = new WaitEstimator();
  expect(estimator.retryAfterSeconds(1000)).toBe(1);
  expect(estimator.waitMs(1000)).toBe(0);
  // Two sequences a second, for long enough to be believed.
  for (let nowMs = 0; nowMs <= 300_000; nowMs += 500) estimator.finished(nowMs);
  expect(estimator.finishedPerSecond).toBeCloseTo(2, 2);
  expect(estimator.waitMs(20)).toBeCloseTo(10_000, -2);
  expect([0, 19, 1000].map((waiting) => estimator.retryAfterSeconds(waiting))).toEqual([1, 5, 60]);
});
