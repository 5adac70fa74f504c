import { describe, expect, it } from 'vitest';
import type { Ratio } from '../../bench/load/statistics.js';
import { changesBetween, judge } from '../../bench/regression.js';
import type { BenchResults } from '../../bench/report/results.js';
import { sampleResults } from './support/sample-results.js';

const ratio = (center: number, spread: number): Ratio => ({
  ratio: center,
  lower: center / spread,
  upper: center * spread,
  count: 3,
});

describe('judge', () => {
  it('calls a drop beyond both intervals worse, and a rise better', () => {
    expect(judge({ before: ratio(1.4, 1.05), now: ratio(1.1, 1.05) })).toBe('worse');
    expect(judge({ before: ratio(1.1, 1.05), now: ratio(1.4, 1.05) })).toBe('better');
  });

  it('does not call the same drop worse when the intervals cover it', () => {
    expect(judge({ before: ratio(1.4, 1.3), now: ratio(1.1, 1.05) })).toBe('same');
    expect(judge({ before: ratio(1.4, 1.05), now: ratio(1.1, 1.3) })).toBe('same');
  });

  it('ignores certain but tiny changes', () => {
    expect(judge({ before: ratio(1.4, 1.001), now: ratio(1.35, 1.001) })).toBe('same');
  });

  it('assumes a tenth of noise where a single seed gives no interval', () => {
    const lone: Ratio = { ratio: 1.4, lower: 0, upper: Number.POSITIVE_INFINITY, count: 1 };
    expect(judge({ before: lone, now: ratio(1.3, 1.01) })).toBe('same');
    expect(judge({ before: lone, now: ratio(1.2, 1.01) })).toBe('worse');
  });

  it('has nothing to say about a ratio that is only there once', () => {
    expect(judge({ before: { ...ratio(1, 1), count: 0 }, now: ratio(1, 1.1) })).toBe('new');
  });
});

describe('changesBetween', () => {
  const rounds = 8;

  /** Eight rounds of both servers; `change` edits those of chairlift. */
  function runs(change: (metrics: Record<string, number>, round: number) => void = () => {}): BenchResults {
    const sample = sampleResults();
    const first = sample.runs.filter(({ seed }) => seed === 1);
    const all = Array.from({ length: rounds }, (_, index) =>
      first.map((run) => {
        const metrics = { ...run.metrics };
        // Both servers meet the same drift of the machine.
        for (const key of Object.keys(metrics)) metrics[key]! *= /Second$/.test(key) ? 1 + index / 10 : 1;
        if (run.subject === 'chairlift') change(metrics, index);
        return { ...run, seed: index + 1, metrics, generator: { ...run.generator } };
      }),
    );
    return { ...sample, runs: all.flat() };
  }

  const worse = (now: BenchResults): string[] =>
    changesBetween(runs(), now)
      .filter((change) => judge(change) === 'worse')
      .map(({ scenario, metric }) => `${scenario} ${metric}`);

  it('finds what got slower in every round', () => {
    expect(worse(runs())).toEqual([]);
    const slower = runs((metrics) => {
      metrics.itlP50Ms! *= 1.2;
    });
    expect(worse(slower)).toEqual(['throughput itlP50Ms', 'interference itlP50Ms']);
  });

  it('does not mind one disturbed round', () => {
    const disturbed = runs((metrics, round) => {
      if (round === 3) metrics.generatedTokensPerSecond! /= 5;
    });
    expect(worse(disturbed)).toEqual([]);
  });

  it('leaves out runs in which others used the machine', () => {
    const now = runs((metrics, round) => {
      if (round < 3) metrics.itlP50Ms! *= 9;
    });
    expect(changesBetween(runs(), now)[2]!.now.lower).toBeLessThan(0.2);
    for (const run of now.runs) if (run.seed <= 3) run.generator.foreignCores = 1;
    const { before, now: left } = changesBetween(runs(), now)[2]!;
    expect(left.count).toBe(5);
    expect(left.lower).toBeCloseTo(before.lower);
  });
});
