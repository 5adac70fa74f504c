import { describe, expect, it } from 'vitest';
import { arrivalScheduleMs } from '../../bench/load/arrivals.js';
import { conversationLength, drawLength, spreadLength } from '../../bench/load/lengths.js';
import { Random } from '../../bench/load/random.js';
import {
  estimate,
  mean,
  medianRatio,
  pairedRatio,
  percentile,
  quantileCurve,
  sorted,
  standardDeviation,
  studentT95,
} from '../../bench/load/statistics.js';

describe('percentile', () => {
  const hundred = sorted(Array.from({ length: 100 }, (_, index) => 100 - index));

  it('is the nearest rank, always an observed value', () => {
    expect(percentile(hundred, 0.5)).toBe(50);
    expect(percentile(hundred, 0.99)).toBe(99);
    expect(percentile(hundred, 1)).toBe(100);
    expect(percentile(hundred, 0)).toBe(1);
  });

  it('is not fooled by float noise at exact ranks', () => {
    expect(percentile(hundred, 0.07)).toBe(7);
    expect(percentile(hundred, 0.29)).toBe(29);
  });

  it('takes the maximum as p99 of few samples, and NaN of none', () => {
    expect(percentile(sorted([3, 1, 2]), 0.99)).toBe(3);
    expect(percentile([], 0.5)).toBeNaN();
  });
});

describe('estimate', () => {
  it('gives the textbook interval of three samples', () => {
    const { mean: center, halfWidth } = estimate([10, 12, 14]);
    expect(center).toBe(12);
    expect(halfWidth).toBeCloseTo((4.303 * 2) / Math.sqrt(3), 6);
  });

  it('has no interval with one sample and ignores what is not finite', () => {
    expect(estimate([5]).halfWidth).toBeNaN();
    expect(estimate([5, Number.NaN, 7])).toMatchObject({ mean: 6, count: 2, lowest: 5, highest: 7 });
  });

  it('knows that the critical value falls towards 1.96', () => {
    expect(studentT95(2)).toBe(4.303);
    expect(studentT95(10_000)).toBeCloseTo(1.96, 2);
    expect(studentT95(21)).toBeCloseTo(2.08, 1);
  });
});

describe('pairedRatio', () => {
  it('cancels drift that hits both sides of a pair', () => {
    const { ratio, lower, upper } = pairedRatio([
      [120, 100],
      [60, 50],
      [240, 200],
    ]);
    expect(ratio).toBeCloseTo(1.2, 9);
    expect(upper - lower).toBeLessThan(1e-6);
  });

  it('admits that one pair says nothing about the spread', () => {
    expect(pairedRatio([[3, 2]])).toMatchObject({ upper: Number.POSITIVE_INFINITY, lower: 0 });
  });
});

describe('medianRatio', () => {
  const pairsOf = (...ratios: number[]): [number, number][] => ratios.map((ratio) => [ratio, 1]);

  it('is not moved by one disturbed pair of eight, and neither is its interval', () => {
    const quiet = [1.1, 1.12, 1.14, 1.16, 1.18, 1.2, 1.22];
    const { ratio, lower, upper, count } = medianRatio(pairsOf(...quiet, 40));
    expect(count).toBe(8);
    expect(ratio).toBeCloseTo(Math.sqrt(1.16 * 1.18));
    expect([lower, upper].map((value) => Number(value.toFixed(3)))).toEqual([1.12, 1.22]);
    expect(pairedRatio(pairsOf(...quiet, 40)).upper).toBeGreaterThan(3);
  });

  it('holds the true median in at least 92% of cases, whatever the distribution', () => {
    const random = new Random('medians');
    const draw = (): number => (random.next() < 0.2 ? random.lognormal(1, 1) : random.lognormal(0, 0.05));
    const truth = percentile(sorted(Array.from({ length: 40_001 }, draw)), 0.5);
    for (const pairs of [5, 8, 11, 12]) {
      const held = Array.from({ length: 3000 }, () => {
        const { lower, upper } = medianRatio(pairsOf(...Array.from({ length: pairs }, draw)));
        return lower <= truth && truth <= upper;
      });
      const share = held.filter(Boolean).length / held.length;
      expect(share, `${pairs} pairs`).toBeGreaterThan(0.91);
      expect(share, `${pairs} pairs`).toBeLessThan(0.98);
    }
  });

  it('has no interval below five pairs, and leaves out what is not there', () => {
    expect(medianRatio(pairsOf(1, 2, 3, Number.NaN))).toEqual({
      ratio: expect.closeTo(2),
      lower: 0,
      upper: Number.POSITIVE_INFINITY,
      count: 3,
    });
    expect(medianRatio([]).count).toBe(0);
  });
});

it('quantileCurve ends at the maximum and rises', () => {
  const curve = quantileCurve([5, 1, 9, 3]);
  expect(curve.at(-1)).toEqual({ fraction: 1, value: 9 });
  for (let index = 1; index < curve.length; index += 1) {
    expect(curve[index]!.value).toBeGreaterThanOrEqual(curve[index - 1]!.value);
    expect(curve[index]!.fraction).toBeGreaterThan(curve[index - 1]!.fraction);
  }
});

describe('Random', () => {
  it('repeats itself for a seed and differs for another', () => {
    const draw = (seed: number): number[] => {
      const random = new Random(seed);
      return Array.from({ length: 5 }, () => random.next());
    };
    expect(draw(1)).toEqual(draw(1));
    expect(draw(1)).not.toEqual(draw(2));
  });

  it('forks without moving the parent', () => {
    const random = new Random('a');
    const twin = new Random('a');
    random.fork('x').next();
    expect(random.next()).toBe(twin.next());
  });

  it('has the moments its distributions promise', () => {
    const random = new Random('moments');
    const samples = (draw: () => number): number[] => Array.from({ length: 40_000 }, draw);
    const exponential = samples(() => random.exponential(3));
    expect(mean(exponential)).toBeCloseTo(3, 1);
    expect(standardDeviation(exponential)).toBeCloseTo(3, 0);
    const gamma = samples(() => random.gamma(0.5, 4));
    expect(mean(gamma)).toBeCloseTo(2, 1);
    expect(standardDeviation(gamma)).toBeGreaterThan(2.6);
    expect(standardDeviation(gamma)).toBeLessThan(3.05);
    const normal = samples(() => random.normal());
    expect(Math.abs(mean(normal))).toBeLessThan(0.02);
    expect(standardDeviation(normal)).toBeCloseTo(1, 1);
  });

  it('covers a range of integers evenly', () => {
    const random = new Random('dice');
    const counts = new Map<number, number>();
    for (let roll = 0; roll < 6000; roll += 1) {
      const face = random.integer(1, 6);
      counts.set(face, (counts.get(face) ?? 0) + 1);
    }
    expect([...counts.keys()].sort()).toEqual([1, 2, 3, 4, 5, 6]);
    expect(Math.min(...counts.values())).toBeGreaterThan(850);
  });
});

describe('arrivalScheduleMs', () => {
  const options = { ratePerSecond: 50, durationSeconds: 200 };

  it('keeps the rate, in order, inside the duration', () => {
    const arrivals = arrivalScheduleMs(options, new Random(7));
    expect(arrivals.length / 200).toBeGreaterThan(47);
    expect(arrivals.length / 200).toBeLessThan(53);
    expect(arrivals).toEqual([...arrivals].sort((a, b) => a - b));
    expect(arrivals.at(-1)).toBeLessThan(200_000);
  });

  it('makes gamma gaps smoother or burstier than Poisson', () => {
    const variation = (gammaShape: number): number => {
      const arrivals = arrivalScheduleMs({ ...options, gammaShape }, new Random(3));
      const gaps = arrivals.slice(1).map((atMs, index) => atMs - arrivals[index]!);
      return standardDeviation(gaps) / mean(gaps);
    };
    expect(variation(1)).toBeCloseTo(1, 1);
    expect(variation(4)).toBeCloseTo(0.5, 1);
    expect(variation(0.25)).toBeGreaterThan(1.8);
  });

  it('refuses a rate that never ends', () => {
    expect(() => arrivalScheduleMs({ ratePerSecond: 0, durationSeconds: 1 }, new Random(1))).toThrow(
      RangeError,
    );
  });
});

describe('drawLength', () => {
  it('spreads evenly around the mean', () => {
    const random = new Random('spread');
    const lengths = Array.from({ length: 5000 }, () => drawLength(spreadLength(64), random));
    expect(Math.min(...lengths)).toBe(48);
    expect(Math.max(...lengths)).toBe(80);
    expect(mean(lengths)).toBeCloseTo(64, 0);
  });

  it('scales the conversation to the median and cuts its tail', () => {
    const random = new Random('conversation');
    const lengths = sorted(
      Array.from({ length: 9001 }, () => drawLength(conversationLength('reply', 48, 400), random)),
    );
    expect(percentile(lengths, 0.5)).toBeGreaterThan(45);
    expect(percentile(lengths, 0.5)).toBeLessThan(51);
    expect(percentile(lengths, 1)).toBe(400);
    expect(percentile(lengths, 0)).toBeGreaterThanOrEqual(4);
  });
});
