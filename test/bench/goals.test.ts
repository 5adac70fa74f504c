import { expect, it } from 'vitest';
import { goalRows, goals, goalText, goalValue, renderGoals } from '../../bench/report/goals.js';
import { scenarios } from '../../bench/scenarios/index.js';
import { sampleResults } from './support/sample-results.js';

function rowOf(id: string, change: (results: ReturnType<typeof sampleResults>) => void = () => {}) {
  const results = sampleResults();
  change(results);
  return goalRows(results).find((row) => row.id === id);
}

it('every goal belongs to a scenario and names one limit', () => {
  expect(new Set(goals.map(({ id }) => id)).size).toBe(goals.length);
  for (const goal of goals) {
    expect(scenarios.map(({ name }) => name)).toContain(goal.scenario);
    expect((goal.atLeast === undefined) !== (goal.atMost === undefined), goal.id).toBe(true);
  }
});

it('a goal is met or missed by the mean, in its own direction', () => {
  expect(rowOf('throughput')).toMatchObject({ isMet: true });
  expect(rowOf('interference-total')).toMatchObject({ isMet: true });
  expect(rowOf('interference-itl')).toMatchObject({ isMet: false });
});

it('compares with the bare arithmetic and with the peak of the sweep', () => {
  const doubled = rowOf('ceiling', (results) => {
    results.ceiling = [{ command: '', generatedTokensPerSecond: 900 }];
  });
  expect(doubled!.value.ratio).toBeCloseTo(0.5, 1);
  const peak = rowOf('overload-goodput', (results) => {
    for (const run of results.runs.filter(({ scenario }) => scenario === 'rate-sweep'))
      run.metrics.bestGoodputRequestsPerSecond = 1000;
  });
  expect(peak!.value.ratio).toBeCloseTo(0.45, 1);
});

it('says nothing where nothing was measured', () => {
  expect(goalRows({ ...sampleResults(), runs: [] })).toEqual([]);
  expect(rowOf('ceiling', (results) => delete results.ceiling)).toBeUndefined();
});

it('prints the value, its interval and the goal in one unit', () => {
  const row = rowOf('sparse')!;
  expect(goalValue(row, 0.951)).toBe('95.1%');
  expect(goalText(row)).toBe('at least 95.0%');
  expect(renderGoals(sampleResults())).toMatch(/MISS .*0\.15x/);
});
