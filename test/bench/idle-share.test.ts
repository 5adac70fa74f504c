import { expect, it } from 'vitest';
import { idleShareOf } from '../../bench/scenarios/batch-under-interactive.js';

const busy = (...spans: [number, number][]) =>
  idleShareOf({
    records: spans.map(([sentAtMs, finishedAtMs]) => ({ sentAtMs, finishedAtMs })) as never,
    window: { startMs: 100, endMs: 200 },
  });

it('counts time in which no request is in the system', () => {
  expect(busy()).toBe(1);
  expect(busy([0, 300])).toBe(0);
  expect(busy([50, 110], [180, 250])).toBeCloseTo(0.7);
  expect(busy([150, 160], [120, 155], [121, 122])).toBeCloseTo(0.6);
});
