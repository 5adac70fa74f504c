import { describe, expect, it } from 'vitest';
import { namedResultsFiles, readResults, resultsFiles } from '../../bench/report/files.js';
import { renderHtml } from '../../bench/report/html.js';
import { orientedRatio, ratioRows, renderMarkdown } from '../../bench/report/markdown.js';
import { formatMetric, formatNumber, metricInfo } from '../../bench/report/metrics.js';
import { renderLinePlot } from '../../bench/report/plot.js';
import { allPlots, averagePoints } from '../../bench/report/plots.js';
import { mergeRuns, upgradeResults } from '../../bench/report/results.js';
import { linearScale, logScale } from '../../bench/report/scales.js';
import { renderTextTable, scenarioTable } from '../../bench/report/tables.js';
import { type BuildThreads, mergeThreads } from '../../bench/report/threads.js';
import { scenarios, selectScenarios } from '../../bench/scenarios/index.js';
import { fitCallCost } from '../../src/serving/call-cost.js';
import { sampleResults } from './support/sample-results.js';

const throughput = scenarios[0]!;

describe('mergeRuns', () => {
  it('replaces the same subject, scenario and seed, and keeps the rest', () => {
    const { runs } = sampleResults();
    const again = { ...runs[0]!, metrics: { generatedTokensPerSecond: 1 } };
    const merged = mergeRuns(runs, [again]);
    expect(merged).toHaveLength(runs.length);
    expect(merged).toContain(again);
    expect(merged).not.toContain(runs[0]);
  });
});

describe('upgradeResults', () => {
  const { runs, ...rest } = sampleResults();
  const old = {
    ...rest,
    format: 1 as const,
    runs: runs.filter(({ scenario }) => !/warm|-8$/.test(scenario)),
  };

  it('takes the shared prefixes of an old file for what they were, and says so', () => {
    const upgraded = upgradeResults({ ...old, smoke: old.runs });
    const text = renderMarkdown(upgraded, 'results/x.json', allPlots(upgraded));
    expect(text).toContain('<a id="shared-prefix-200-warm-chairlift"></a>');
    expect(text).not.toContain('<a id="shared-prefix-200-chairlift"></a>');
    expect(text).toContain('- chairlift: measured when this scenario was called shared-prefix-200');
    expect(text).not.toContain('goal-shared-prefix');
    expect(text).toContain('Goals not measured here: shared-prefix-200.');
    expect(upgraded.smoke!.map(({ scenario }) => scenario)).not.toContain('shared-prefix-200');
  });

  it('leaves a new file alone', () => {
    const results = sampleResults();
    expect(upgradeResults(results)).toEqual(results);
    expect(renderMarkdown(results, 'results/x.json', [])).not.toMatch(/was called|not measured here/);
  });

  it.each([...resultsFiles(), ...namedResultsFiles()])('%s still renders', (file) => {
    const results = readResults(file);
    expect(results.format).toBe(2);
    expect(renderMarkdown(results, 'results/x.json', allPlots(results))).not.toMatch(/undefined|NaN/);
    expect(renderHtml(results)).toContain('</html>');
  });
});

describe('scenarioTable', () => {
  it('marks the best value of each column by its direction', () => {
    const table = scenarioTable(sampleResults(), throughput);
    const column = (key: string): number => throughput.headline.indexOf(key);
    const row = (subject: string) => table.rows.find((each) => each.subject === subject)!;
    expect(row('chairlift').cells[column('generatedTokensPerSecond')]!.isBest).toBe(true);
    expect(row('chairlift').cells[column('ttftP50Ms')]!.isBest).toBe(true);
    expect(row('serial').cells.some(({ isBest }) => isBest)).toBe(false);
  });

  it('says what a reader must know: failures, cut runs, a busy machine', () => {
    const results = sampleResults();
    const run = results.runs.find((each) => each.scenario === 'throughput' && each.subject === 'naive')!;
    run.incomplete = 'it died';
    run.generator.foreignCores = 0.9;
    const note = scenarioTable(results, throughput).rows.find(({ subject }) => subject === 'naive')!.note;
    expect(note).toContain('it died');
    expect(note).toContain('0.9 cores');
  });

  it('aligns the columns of the terminal table', () => {
    const lines = renderTextTable(scenarioTable(sampleResults(), throughput), '').split('\n');
    expect(new Set(lines.slice(0, 6).map((line) => line.length)).size).toBe(1);
  });
});

describe('orientedRatio', () => {
  it('is above 1 where chairlift is better, for both directions of a metric', () => {
    const results = sampleResults();
    expect(orientedRatio(results, 'throughput', 'generatedTokensPerSecond').ratio).toBeCloseTo(1.25, 1);
    expect(orientedRatio(results, 'throughput', 'ttftP50Ms').ratio).toBeCloseTo(1.25, 1);
  });

  it('compares with the other flags where they ran', () => {
    const rows = ratioRows(sampleResults(), scenarios);
    const row = (scenario: string) => rows.find((each) => each.scenario === scenario)!;
    expect(row('sparse').alternative.ratio).toBeCloseTo(1.43, 1);
    expect(row('single').alternative.count).toBe(0);
    expect(rows.map(({ metric }) => metric)).not.toContain('kneeTtftP99Ms');
  });

  it('pairs by seed and leaves out what has no partner', () => {
    const results = sampleResults();
    results.runs = results.runs.filter((run) => !(run.subject === 'llama-server' && run.seed === 3));
    expect(orientedRatio(results, 'throughput', 'ttftP50Ms').count).toBe(2);
  });
});

describe('the reports', () => {
  const results = sampleResults();
  const plots = allPlots(results);

  it('draw every plot, with a series for every server that has data', () => {
    expect(plots.map(({ name }) => name).sort()).toEqual(
      ['cached-tokens', 'concurrency', 'goodput', 'interference', 'sparse', 'throughput'].sort(),
    );
    for (const { svg } of plots) {
      expect(svg).not.toMatch(/NaN|undefined|Infinity/);
      expect(svg).toContain('one at a time');
    }
  });

  it('give every row of the README an anchor and every claim a number', () => {
    const text = renderMarkdown(results, 'results/2026-01-02.json', plots);
    for (const scenario of scenarios) expect(text).toContain(`<a id="${scenario.name}-chairlift"></a>`);
    expect(text).toContain('](plots/goodput.svg)');
    expect(text).toContain('never edited by hand');
    expect(text).not.toMatch(/undefined|NaN/);
  });

  it('show what the planner predicted beside what was measured', () => {
    const live = { tokensPerSecond: 100, itlP50Ms: 50, itlP99Ms: 100, ttftP50Ms: 10, ttftP99Ms: 10 };
    const rest = { requests: 1, goodputPerSecond: 1, goodFraction: 1 };
    const comparison = {
      workload: 'busy',
      live: { ...live, ...rest },
      simulated: { ...live, ...rest, itlP50Ms: 70 },
      chunksPerToken: 1,
    };
    const text = renderMarkdown(results, 'results/2026-01-02.json', plots, [], {
      model: 'm.gguf',
      machine: results.machine,
      slots: 8,
      threads: 1,
      seconds: 40,
      itlTargetMs: 250,
      cost: fitCallCost([]),
      comparisons: [comparison],
    });
    expect(text).toContain('| busy | Generated, tok/s | 100.0 | 100.0 | 0% | yes |');
    expect(text).toContain('| busy | ITL p50, ms | 70.0 | 50.0 | +40% | **no** |');
  });

  it('make one page that needs nothing else', () => {
    const page = renderHtml(results);
    expect(page).not.toMatch(/<script|src=|href="http|@import|undefined|NaN/);
    expect(page.match(/<svg/g)).toHaveLength(plots.length);
  });

  it('escape what a server calls itself', () => {
    const evil = sampleResults();
    evil.subjects[0]!.label = '<img onerror=x>';
    expect(renderHtml(evil)).not.toContain('<img');
  });

  it('survive results without runs', () => {
    const empty = { ...sampleResults(), runs: [] };
    expect(allPlots(empty)).toEqual([]);
    expect(renderHtml(empty)).toContain('</html>');
    expect(renderMarkdown(empty, 'results/x.json', [])).toContain('# Measurements');
  });
});

describe('threads', () => {
  const build = (native: string, ms: [one: number, two: number, learned: number]): BuildThreads => ({
    native,
    model: 'm.gguf',
    machine: results.machine,
    runs: [
      {
        measuredAt: '2026-01-02T00:00:00.000Z',
        shapes: [
          {
            rows: 1,
            tokensEach: 1,
            calls: 9,
            fixedMs: { 1: ms[0], 2: ms[1] },
            learnedMs: ms[2],
            learnedShares: { 1: 1, 2: 0 },
          },
        ],
      },
    ],
  });
  const results = sampleResults();
  const prebuilt = build('llama.cpp v1, prebuilt, cpu, no OpenMP', [6, 18, 6.12]);
  const local = build('llama.cpp v1, local build, cpu, OpenMP', [5, 3, 3.06]);

  it('are compared with the best fixed number and with the most', () => {
    const text = renderMarkdown(results, 'results/x.json', [], [prebuilt]);
    expect(text).toContain('| 1 x 1 | 6.00 | 18.00 | 6.12 | 1 | 2.0% | 2.94x as fast |');
    expect(text).toContain('Worst: 2.0% at 1 x 1; met.');
    expect(text).toContain('2 threads. 2.94x; met.');
    expect(text).not.toContain('native-builds');
  });

  it('say so when a goal is missed, and when no choice could have met it', () => {
    const slow = build(prebuilt.native, [12, 13, 13]);
    const text = renderMarkdown(results, 'results/x.json', [], [slow]);
    expect(text).toContain('Worst: 8.3% at 1 x 1; **missed**.');
    expect(text).toContain(
      '1.00x; **missed**; no choice could reach it here, the best fixed number is 1.08x',
    );
  });

  it('show what a local build brings once both were measured', () => {
    const text = renderMarkdown(results, 'results/x.json', [], mergeThreads([prebuilt], local));
    expect(text).toContain('<a id="native-builds"></a>');
    expect(text).toContain('| 1 x 1 | 6.00 | 3.00 | 2.00 | 2.00 – 2.00 |');
  });

  it('a new measurement replaces the one of the same build', () => {
    const again = build(prebuilt.native, [1, 1, 1]);
    expect(mergeThreads([prebuilt, local], again)).toEqual([again, local]);
  });

  it('or adds to it, and the table shows the mean; another machine keeps its own', () => {
    const again = build(prebuilt.native, [8, 18, 8.12]);
    const both = mergeThreads([prebuilt], again, true);
    const text = renderMarkdown(results, 'results/x.json', [], both);
    expect(text).toContain('| 1 x 1 | 7.00 | 18.00 | 7.12 | 1 | 1.7% | 2.53x as fast |');
    const elsewhere = { ...again, machine: { ...again.machine, cpu: 'another' } };
    expect(mergeThreads([prebuilt], elsewhere)).toHaveLength(2);
    expect(renderMarkdown(results, 'results/x.json', [], [elsewhere, local])).not.toContain('native-builds');
  });
});

describe('metrics', () => {
  it('knows every headline metric', () => {
    for (const key of scenarios.flatMap(({ headline }) => headline)) {
      expect(metricInfo(key).label, key).not.toBe(key);
    }
  });

  it('formats shares, thousands and what is missing', () => {
    expect(formatMetric('cachedTokenFraction', 0.934)).toBe('93.4');
    expect(formatNumber(12345.6, 1)).toBe('12,346');
    expect(formatNumber(Number.NaN, 1)).toBe('–');
  });
});

describe('scales', () => {
  it('put nice ticks inside the domain', () => {
    expect(linearScale([0, 437], [0, 100]).ticks.map(({ value }) => value)).toEqual([0, 100, 200, 300, 400]);
    expect(logScale([8, 130], [0, 100]).ticks.map(({ value }) => value)).toEqual([10, 20, 50, 100]);
  });

  it('map the ends of the domain to the ends of the range', () => {
    const { toPixel } = logScale([1, 100], [50, 250]);
    expect([toPixel(1), toPixel(10), toPixel(100)]).toEqual([50, 150, 250]);
  });
});

it('averagePoints leaves out rates that only few seeds measured', () => {
  const grid = [{ x: 1, y: 1 }];
  const averaged = averagePoints([[...grid, { x: 1.5, y: 9 }], grid, [{ x: 1, y: 4 }]]);
  expect(averaged).toHaveLength(1);
  expect(averaged[0]).toMatchObject({ x: 1, y: 2 });
});

it('renderLinePlot leaves out empty series', () => {
  const svg = renderLinePlot({
    title: 't',
    xLabel: 'x',
    yLabel: 'y',
    xAxis: 'linear',
    yAxis: 'linear',
    series: [
      { label: 'has data', color: 0, points: [{ x: 0, y: 1 }] },
      { label: 'has none', color: 1, points: [] },
    ],
  });
  expect(svg).toContain('has data');
  expect(svg).not.toContain('has none');
});

describe('selectScenarios', () => {
  it('takes names, families and all, in the order of the report', () => {
    expect(selectScenarios(['single', 'throughput']).map(({ name }) => name)).toEqual([
      'throughput',
      'single',
    ]);
    expect(selectScenarios(['shared-prefix'])).toHaveLength(3);
    expect(selectScenarios(['shared-prefix-200'])).toHaveLength(1);
    expect(selectScenarios(['all'])).toHaveLength(scenarios.length);
    expect(() => selectScenarios(['shared'])).not.toThrow();
    expect(() => selectScenarios(['nope'])).toThrow(/known: all, throughput/);
  });
});
