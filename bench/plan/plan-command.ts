import { writeFileSync } from 'node:fs';
import { UsageError } from '../options.js';
import { renderLinePlot } from '../report/plot.js';
import type { PlanMetrics } from './plan-metrics.js';
import { help, type PlanOptions, parsePlanOptions } from './plan-options.js';
import { cheapest, evaluate, type Fit } from './plan-search.js';

interface RateAnswer {
  ratePerSecond: number;
  fit: Fit | null;
}

interface SweepPoint {
  ratePerSecond: number;
  slots: number;
  workers: number;
  metrics: PlanMetrics;
}

const sweepFactors = [0.25, 0.5, 0.75, 1, 1.25, 1.5, 2];

/**
 * Answers "how many slots and workers" by simulating the real scheduler at the given cost.
 * @param argv words after `plan`
 * @returns exit code: 0 every rate can be served, 1 one cannot, 2 wrong usage
 */
export async function runPlan(
  argv: readonly string[],
  write: (text: string) => void = (text) => {
    process.stdout.write(text);
  },
): Promise<number> {
  let options: PlanOptions | null;
  try {
    options = parsePlanOptions(argv);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    write(`${error.message}\n\n${help}`);
    return 2;
  }
  if (!options) {
    write(help);
    return 0;
  }
  const { question, ratesPerSecond, slotChoices, mostWorkers } = options;
  const answers = ratesPerSecond.map((ratePerSecond) => ({
    ratePerSecond,
    fit: cheapest(question, ratePerSecond, slotChoices, mostWorkers),
  }));
  const sweep = sweepOf(options, answers);
  write(reportOf(options, answers, sweep));
  if (options.svgPath) writeFileSync(options.svgPath, drawSweep(sweep));
  if (options.jsonPath)
    writeFileSync(options.jsonPath, `${JSON.stringify({ ...options, answers, sweep }, null, 2)}\n`);
  return answers.every(({ fit }) => fit) ? 0 : 1;
}

/** Every choice of slots, with the workers that the highest rate needs, over the rates. */
function sweepOf(
  { question, ratesPerSecond, slotChoices, mostWorkers }: PlanOptions,
  answers: RateAnswer[],
): SweepPoint[] {
  const workers = answers.at(-1)?.fit?.workers ?? mostWorkers;
  const [only] = ratesPerSecond;
  const rates = ratesPerSecond.length > 1 ? ratesPerSecond : sweepFactors.map((factor) => factor * only!);
  return slotChoices.flatMap((slots) =>
    rates.map((ratePerSecond) => ({
      ratePerSecond,
      slots,
      workers,
      metrics: evaluate(question, ratePerSecond, slots, workers),
    })),
  );
}

function reportOf(
  { question, mostWorkers }: PlanOptions,
  answers: RateAnswer[],
  sweep: SweepPoint[],
): string {
  const { targets, attainment } = question;
  const head = [
    'rate/s',
    'workers',
    'slots',
    'goodput/s',
    'good',
    'tok/s',
    'TTFT p50',
    'p99 ms',
    'ITL p50',
    'p99 ms',
  ];
  const rows = sweep.map(({ ratePerSecond, slots, workers, metrics }) =>
    rowOf(ratePerSecond, workers, slots, metrics),
  );
  const verdicts = answers.map(({ ratePerSecond, fit }) =>
    fit
      ? `${short(ratePerSecond)} requests/s: ${fit.workers} worker${fit.workers === 1 ? '' : 's'} of ${fit.slots} slots; ` +
        `TTFT p99 ${short(fit.metrics.ttftP99Ms)} ms, ITL p99 ${short(fit.metrics.itlP99Ms)} ms, ${percent(fit.metrics.goodFraction)} good`
      : `${short(ratePerSecond)} requests/s: not with ${mostWorkers} workers of any of these slots`,
  );
  return [
    table([head, ...rows]),
    '',
    `cheapest for ${percent(attainment)} with TTFT <= ${targets.ttftMs} ms and every gap <= ${targets.itlMs} ms:`,
    ...verdicts.map((line) => `  ${line}`),
    '',
  ].join('\n');
}

function rowOf(rate: number, workers: number, slots: number, metrics: PlanMetrics): string[] {
  const { goodputPerSecond, goodFraction, tokensPerSecond, ttftP50Ms, ttftP99Ms, itlP50Ms, itlP99Ms } =
    metrics;
  return [
    ...[rate, workers, slots, goodputPerSecond].map(short),
    percent(goodFraction),
    ...[tokensPerSecond, ttftP50Ms, ttftP99Ms, itlP50Ms, itlP99Ms].map(short),
  ];
}

function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row) => row.map((cell, column) => cell.padStart(widths[column]!)).join('  ')).join('\n');
}

function drawSweep(sweep: readonly SweepPoint[]): string {
  const choices = [...new Set(sweep.map(({ slots }) => slots))];
  const workers = sweep[0]?.workers ?? 1;
  return renderLinePlot({
    title: `Goodput of ${workers} worker${workers === 1 ? '' : 's'}, simulated`,
    xLabel: 'requests per second offered',
    yLabel: 'good requests per second',
    xAxis: 'linear',
    yAxis: 'linear',
    showPoints: true,
    showIdentity: true,
    series: choices.map((slots, color) => ({
      label: `${slots} slots`,
      color,
      points: sweep
        .filter((point) => point.slots === slots)
        .map(({ ratePerSecond, metrics }) => ({ x: ratePerSecond, y: metrics.goodputPerSecond })),
    })),
  });
}

function short(value: number): string {
  if (!Number.isFinite(value)) return '-';
  return value >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3)));
}

function percent(share: number): string {
  return `${(share * 100).toFixed(share === 1 ? 0 : 1)}%`;
}
