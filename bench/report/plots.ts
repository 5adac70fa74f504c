import { type Estimate, estimate } from '../load/statistics.js';
import type { Point } from '../scenarios/scenario.js';
import { formatNumber } from './metrics.js';
import {
  type BarPlot,
  type LinePlot,
  type PlotPoint,
  type PlotSeries,
  renderBarPlot,
  renderLinePlot,
} from './plot.js';
import { type BenchResults, type RunResult, runsOf } from './results.js';
import { metricEstimate } from './tables.js';

export interface NamedPlot {
  /** File name without ending. */
  name: string;
  scenario: string;
  caption: string;
  svg: string;
}

/** Every plot for which there is data. */
export function allPlots(results: BenchResults): NamedPlot[] {
  return [throughputPlot, concurrencyPlot, interferencePlot, cachedPlot, sparsePlot, goodputPlot]
    .map((make) => make(results))
    .filter((plot): plot is NamedPlot => plot !== undefined);
}

function throughputPlot(results: BenchResults): NamedPlot | undefined {
  return barsOf(results, {
    name: 'throughput',
    scenario: 'throughput',
    caption: 'Generated tokens per second with every slot busy; bars show the 95% interval over seeds.',
    title: 'Generated tokens per second',
    yLabel: 'tok/s',
    scenarios: [
      ['throughput', 'all different'],
      ['shared-prefix-200', '200 shared, cold start'],
      ['shared-prefix-200-warm', '200 shared, warm'],
      ['shared-prompts-8', '8 prompts of 200'],
    ],
    metric: 'generatedTokensPerSecond',
    factor: 1,
  });
}

function sparsePlot(results: BenchResults): NamedPlot | undefined {
  return barsOf(results, {
    name: 'sparse',
    scenario: 'sparse',
    caption: 'Median gap between tokens with 8 scattered streams left of a full house; lower is better.',
    title: 'Gap between tokens after the rush, median',
    yLabel: 'ms',
    scenarios: [['sparse', '8 of 32 slots alive']],
    metric: 'itlP50Ms',
    factor: 1,
  });
}

function cachedPlot(results: BenchResults): NamedPlot | undefined {
  return barsOf(results, {
    name: 'cached-tokens',
    scenario: 'shared-prefix-200',
    caption: "Share of prompt tokens that needed no work, by the servers' own usage counts.",
    title: 'Prompt tokens found in the cache',
    yLabel: '%',
    scenarios: [
      ['shared-prefix-200', '200 shared, cold start'],
      ['shared-prompts-8', '8 prompts of 200'],
      ['multi-turn', 'multi-turn'],
    ],
    metric: 'cachedTokenFraction',
    factor: 100,
  });
}

function concurrencyPlot(results: BenchResults): NamedPlot | undefined {
  return linesOf(results, 'concurrency', 'tokensPerSecondByClients', {
    name: 'concurrency',
    caption: 'Generated tokens per second against the number of clients in a closed loop.',
    title: 'Throughput against concurrency',
    xLabel: 'clients',
    yLabel: 'generated tok/s',
    xAxis: 'doubling',
    yAxis: 'linear',
    showPoints: true,
  });
}

function goodputPlot(results: BenchResults): NamedPlot | undefined {
  const { ttftMs, itlMs } = results.options.targets;
  return linesOf(results, 'rate-sweep', 'goodputByRate', {
    name: 'goodput',
    caption: `Requests per second that met both targets (first token within ${ttftMs} ms, every gap within ${itlMs} ms) against the rate offered; the dashed line is "all of them".`,
    title: 'Goodput against arrival rate',
    xLabel: 'requests/s offered (Poisson)',
    yLabel: 'good requests/s',
    xAxis: 'linear',
    yAxis: 'linear',
    showPoints: true,
    showIdentity: true,
  });
}

function interferencePlot(results: BenchResults): NamedPlot | undefined {
  const series = seriesOf(results, 'interference', (runs) => averageCurve(runs, 'itlMs'));
  if (series.length === 0) return undefined;
  return {
    name: 'interference',
    scenario: 'interference',
    caption:
      'Gaps between tokens of 8 steady streams while 1,200-token prompts arrive: the right end is what a reader feels as a stall.',
    svg: renderLinePlot({
      title: 'Gaps between tokens under interference',
      xLabel: 'percentile of all gaps',
      yLabel: 'gap, ms',
      xAxis: 'percentile',
      yAxis: 'log',
      series,
    }),
  };
}

type LineOptions = Omit<LinePlot, 'series'> & { name: string; caption: string };

function linesOf(
  results: BenchResults,
  scenario: string,
  key: string,
  options: LineOptions,
): NamedPlot | undefined {
  const series = seriesOf(results, scenario, (runs) =>
    averagePoints(runs.map((run) => run.points?.[key] ?? [])),
  );
  if (series.length === 0) return undefined;
  return {
    name: options.name,
    scenario,
    caption: options.caption,
    svg: renderLinePlot({ ...options, series }),
  };
}

function seriesOf(
  results: BenchResults,
  scenario: string,
  pointsOf: (runs: RunResult[]) => PlotPoint[],
): PlotSeries[] {
  return results.subjects
    .map(({ name, label }, color) => ({ label, color, points: pointsOf(runsOf(results, scenario, name)) }))
    .filter(({ points }) => points.length > 0);
}

/** Mean over seeds at each x that at least half of the seeds measured (refinements of a sweep differ by seed). */
export function averagePoints(sweeps: readonly Point[][]): PlotPoint[] {
  const byX = new Map<number, number[]>();
  for (const { x, y } of sweeps.flat()) byX.set(x, [...(byX.get(x) ?? []), y]);
  return [...byX]
    .filter(([, values]) => values.length * 2 >= sweeps.length)
    .map(([x, values]) => ({ x, ...withError(estimate(values)) }))
    .filter(({ y }) => Number.isFinite(y))
    .sort((a, b) => a.x - b.x);
}

function averageCurve(runs: readonly RunResult[], key: string): PlotPoint[] {
  const byFraction = new Map<number, number[]>();
  for (const { fraction, value } of runs.flatMap((run) => run.curves?.[key] ?? [])) {
    byFraction.set(fraction, [...(byFraction.get(fraction) ?? []), value]);
  }
  return [...byFraction]
    .sort(([a], [b]) => a - b)
    .map(([fraction, values]) => ({ x: fraction, y: estimate(values).mean }));
}

interface BarOptions {
  name: string;
  scenario: string;
  caption: string;
  title: string;
  yLabel: string;
  scenarios: [scenario: string, label: string][];
  metric: string;
  factor: number;
}

function barsOf(results: BenchResults, options: BarOptions): NamedPlot | undefined {
  const present = options.scenarios.filter(([scenario]) => runsOf(results, scenario).length > 0);
  const series: BarPlot['series'] = results.subjects
    .map(({ name, label }, color) => ({
      label,
      color,
      values: present.map(([scenario]) =>
        barValue(metricEstimate(runsOf(results, scenario, name), options.metric), options.factor),
      ),
    }))
    .filter(({ values }) => values.some(({ y }) => Number.isFinite(y)));
  if (present.length === 0 || series.length === 0) return undefined;
  const { name, caption, title, yLabel } = options;
  const svg = renderBarPlot({ title, yLabel, groups: present.map(([, label]) => label), series });
  return {
    name,
    scenario: present.some(([scenario]) => scenario === options.scenario) ? options.scenario : present[0]![0],
    caption,
    svg,
  };
}

function barValue(value: Estimate, factor: number) {
  const scaled = { ...value, mean: value.mean * factor, halfWidth: value.halfWidth * factor };
  return { ...withError(scaled), text: formatNumber(scaled.mean, scaled.mean < 100 ? 1 : 0) };
}

function withError({ mean, halfWidth }: Estimate): { y: number; low?: number; high?: number } {
  if (!Number.isFinite(halfWidth)) return { y: mean };
  return { y: mean, low: Math.max(0, mean - halfWidth), high: mean + halfWidth };
}
