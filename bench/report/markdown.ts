import { basename } from 'node:path';
import { type Pair, pairedRatio, type Ratio } from '../load/statistics.js';
import { scenarios } from '../scenarios/index.js';
import type { Scenario } from '../scenarios/scenario.js';
import { type BatchLines, batchLinesSection } from './batch-lines.js';
import { definitions, factsOf } from './facts.js';
import { goalInterval, goalRows, goals, goalText, goalValue } from './goals.js';
import { formatNumber, metricHeading, metricInfo } from './metrics.js';
import { type Overload, overloadSection } from './overload.js';
import { type PlanValidation, planValidationSection } from './plan-validation.js';
import type { NamedPlot } from './plots.js';
import { type Relay, relaySection } from './relay.js';
import { type BenchResults, runsOf } from './results.js';
import { scenarioTable, type Table } from './tables.js';
import { type BuildThreads, threadsSection } from './threads.js';

/** Who is compared with whom in the ratio table. */
export const subjectUnderTest = 'chairlift';
export const referenceSubject = 'llama-server';
/** The same server with the flags that suit other scenarios better. */
export const alternativeSubject = 'llama-server-unified';

/** Results of another machine, model or load than the page is about. */
export interface NamedResults {
  /** Path of the JSON, relative to bench/. */
  file: string;
  results: BenchResults;
}

/**
 * bench/README.md as a whole. Everything in it comes from the results; to change a number, measure again.
 * @param resultsFile path of the JSON, relative to bench/
 */
export function renderMarkdown(
  results: BenchResults,
  resultsFile: string,
  plots: readonly NamedPlot[],
  threads: readonly BuildThreads[] = [],
  planValidation: PlanValidation | null = null,
  batchLines: BatchLines | null = null,
  elsewhere: readonly NamedResults[] = [],
  relay: Relay | null = null,
  overload: Overload | null = null,
): string {
  const measured = measuredScenarios(results);
  return [
    '# Measurements',
    '',
    `This page is written by \`npm run bench:peers\` from [${basename(resultsFile)}](${resultsFile}); it is never edited by hand.`,
    'Run the load test on a server of your own with `chairlift bench --url URL --scenario throughput --html report.html`.',
    '',
    ...factsSection(results),
    ...goalsSection(results),
    ...ratioSection(results, measured),
    ...measured.flatMap((scenario) => scenarioSection(results, scenario, plots)),
    ...(batchLines ? batchLinesSection(batchLines) : []),
    ...(overload ? overloadSection(overload) : []),
    ...(relay ? relaySection(relay) : []),
    ...ticksSection(results),
    ...threadsSection(threads),
    ...schedulerSection(results),
    ...(planValidation ? planValidationSection(planValidation) : []),
    ...elsewhere.flatMap(elsewhereSection),
    ...subjectsSection(results),
    ...wordsSection(results),
  ].join('\n');
}

function factsSection(results: BenchResults): string[] {
  const rows = factsOf(results).map(([name, value]) => `| ${name} | ${escapeCell(value)} |`);
  const ceiling = (results.ceiling ?? []).map(({ generatedTokensPerSecond }) => generatedTokensPerSecond);
  const ceilingRow =
    ceiling.length === 0
      ? []
      : [
          `| Arithmetic alone | llama-batched-bench: ${formatNumber(Math.max(...ceiling), 0)} generated tok/s (best of ${ceiling.length}), all sequences in step |`,
        ];
  return ['| | |', '|---|---|', ...rows, ...ceilingRow, ''];
}

function goalsSection(results: BenchResults): string[] {
  if (goalRows(results).length === 0) return [];
  return [
    '<a id="goals"></a>',
    '',
    '## Goals',
    '',
    'What the project set out to reach, in the direction of the goal (time ratios below 1 are less time). Means over seeds; the goal counts as met when the mean meets it.',
    '',
    ...goalsTable(results, ''),
    '',
    ...missingGoals(results),
  ];
}

function missingGoals(results: BenchResults): string[] {
  const measured = new Set(goalRows(results).map(({ id }) => id));
  const missing = goals.filter(({ id }) => !measured.has(id)).map(({ scenario }) => scenario);
  return missing.length === 0 ? [] : [`Goals not measured here: ${[...new Set(missing)].join(', ')}.`, ''];
}

/** @param prefix makes the anchors of each table different ones */
function goalsTable(results: BenchResults, prefix: string): string[] {
  return [
    '| Scenario | What | Measured | 95% interval | Goal | |',
    '|---|---|---:|---:|---:|---|',
    ...goalRows(results).map((row) => {
      const anchor = `<a id="${prefix}goal-${row.id}"></a>[${row.scenario}](#${prefix}${row.scenario})`;
      const measured = goalValue(row, row.value.ratio);
      return `| ${anchor} | ${row.text} | **${measured}** | ${goalInterval(row)} | ${goalText(row)} | ${row.isMet ? 'met' : 'missed'} |`;
    }),
  ];
}

function elsewhereSection({ file, results }: NamedResults): string[] {
  const name = basename(file, '.json');
  const prefix = `${name}-`;
  return [
    `<a id="${name}"></a>`,
    '',
    `## Elsewhere: ${results.machine.cpu.replace(/ \(.*/, '')}, ${results.model.name}`,
    '',
    `From [${basename(file)}](${file}).`,
    '',
    ...factsSection(results),
    ...goalsTable(results, prefix),
    '',
    ...measuredScenarios(results).flatMap((scenario) => [
      `<a id="${prefix}${scenario.name}"></a>`,
      '',
      `### ${scenario.title}`,
      '',
      ...markdownTable(scenarioTable(results, scenario), `${prefix}${scenario.name}`),
      '',
    ]),
  ];
}

function measuredScenarios(results: BenchResults): Scenario[] {
  return scenarios.filter(({ name }) => runsOf(results, name).length > 0);
}

export interface RatioRow {
  scenario: string;
  metric: string;
  /** Subject under test over reference, oriented so that above 1 is better. */
  ratio: Ratio;
  /** The same against `alternativeSubject`; its count is 0 where that did not run. */
  alternative: Ratio;
}

/** Ratios of the headline metrics, paired by seed; counts are left out. */
export function ratioRows(results: BenchResults, measured: readonly Scenario[]): RatioRow[] {
  return measured.flatMap((scenario) =>
    scenario.headline
      .filter(isComparable)
      .map((metric) => ({
        scenario: scenario.name,
        metric,
        ratio: orientedRatio(results, scenario.name, metric),
        alternative: orientedRatio(results, scenario.name, metric, alternativeSubject),
      }))
      .filter(({ ratio }) => ratio.count > 0),
  );
}

/** Counts have no ratio, and latencies at a knee belong to different rates. */
function isComparable(metric: string): boolean {
  return metricInfo(metric).better !== 'neither' && !/Requests$|^knee.*Ms$/.test(metric);
}

export function orientedRatio(
  results: BenchResults,
  scenario: string,
  metric: string,
  against: string = referenceSubject,
): Ratio {
  return pairedRatio(orientedPairs(results, scenario, metric, against));
}

/** The better server's figure is the numerator of a ratio above 1; runs without a partner are left out. */
export function orientedPairs(
  results: BenchResults,
  scenario: string,
  metric: string,
  against: string = referenceSubject,
): Pair[] {
  const reference = runsOf(results, scenario, against);
  return runsOf(results, scenario, subjectUnderTest).flatMap((run) => {
    const other = reference.find(({ seed }) => seed === run.seed);
    const [ours, theirs] = [run.metrics[metric], other?.metrics[metric]];
    if (ours === undefined || theirs === undefined) return [];
    return [metricInfo(metric).better === 'higher' ? ([ours, theirs] as const) : ([theirs, ours] as const)];
  });
}

function ratioSection(results: BenchResults, measured: readonly Scenario[]): string[] {
  const rows = ratioRows(results, measured);
  if (rows.length === 0) return [];
  return [
    `## ${subjectUnderTest} against ${referenceSubject}`,
    '',
    'Ratios of runs of the same round; above 1 is better for chairlift, whichever way the metric points. Bold where the 95% interval over seeds excludes 1. The last column compares with llama-server -kvu (one KV buffer for all slots).',
    '',
    '| Scenario | Metric | Ratio | 95% interval | against -kvu |',
    '|---|---|---:|---:|---:|',
    ...rows.map(ratioLine),
    '',
  ];
}

function ratioLine({ scenario, metric, ratio, alternative }: RatioRow): string {
  const anchor = `<a id="ratio-${scenario}-${metric}"></a>`;
  const cells = [
    `${anchor}[${scenario}](#${scenario})`,
    metricHeading(metric),
    ratioText(ratio),
    intervalText(ratio),
    ratioText(alternative),
  ];
  return `| ${cells.join(' | ')} |`;
}

function ratioText(ratio: Ratio): string {
  if (ratio.count === 0) return '';
  const text = `${formatNumber(ratio.ratio, 2)}x`;
  return isClear(ratio) ? `**${text}**` : text;
}

/** Whether the interval excludes "no difference". */
export function isClear(ratio: Ratio): boolean {
  return ratio.lower > 1 || ratio.upper < 1;
}

export function intervalText({ lower, upper }: Ratio): string {
  return Number.isFinite(upper) ? `${formatNumber(lower, 2)} – ${formatNumber(upper, 2)}` : '–';
}

function scenarioSection(results: BenchResults, scenario: Scenario, plots: readonly NamedPlot[]): string[] {
  const table = scenarioTable(results, scenario);
  const pictures = plots
    .filter((plot) => plot.scenario === scenario.name)
    .flatMap(({ name, caption }) => [`![${caption}](plots/${name}.svg)`, '', `*${caption}*`, '']);
  return [
    `<a id="${scenario.name}"></a>`,
    '',
    `## ${scenario.title}`,
    '',
    scenario.question,
    '',
    ...markdownTable(table, scenario.name),
    '',
    ...pictures,
  ];
}

/** @param anchor what the anchors of its rows begin with */
function markdownTable(table: Table, anchor: string): string[] {
  const notes = table.rows.filter(({ note }) => note).map(({ label, note }) => `- ${label}: ${note}`);
  return [
    `| | ${table.columns.join(' | ')} |`,
    `|---|${table.columns.map(() => '---:').join('|')}|`,
    ...table.rows.map(({ subject, label, cells }) => {
      const texts = cells.map(({ text, spread, isBest }) => {
        const value = isBest ? `**${text}**` : text;
        return spread ? `${value} <sub>${spread}</sub>` : value;
      });
      return `| <a id="${anchor}-${subject}"></a>${escapeCell(label)} | ${texts.join(' | ')} |`;
    }),
    ...(notes.length > 0 ? ['', ...notes] : []),
  ];
}

function ticksSection({ ticks = [] }: BenchResults): string[] {
  if (ticks.length === 0) return [];
  return [
    '<a id="ticks"></a>',
    '',
    '## Inside a tick',
    '',
    'The serving core in one process with its clients, without HTTP: means over ticks in which every client decodes.',
    'Repeat with `UV_THREADPOOL_SIZE=1 npx tsx bench/tick-profile.ts MODEL THREADS CLIENTS`.',
    '',
    '| Model | Threads | Clients | Passes per tick | Decode, ms | Sampling, ms | JavaScript, ms | JavaScript, share | Generated, tok/s |',
    '|---|---:|---:|---:|---:|---:|---:|---:|---:|',
    ...ticks.map((tick) => {
      const { model, threads, slots, passes, decodeMs, samplingMs, javascriptMs } = tick;
      const share = (100 * javascriptMs) / (decodeMs + samplingMs + javascriptMs);
      const times = [passes, decodeMs, samplingMs, javascriptMs].map((cell) => cell.toFixed(2));
      const rate = formatNumber(tick.generatedTokensPerSecond, 0);
      return `| ${model} | ${threads} | ${slots} | ${times.join(' | ')} | ${share.toFixed(1)}% | ${rate} |`;
    }),
    '',
  ];
}

function schedulerSection({ schedulerMicro = [] }: BenchResults): string[] {
  if (schedulerMicro.length === 0) return [];
  return [
    '<a id="scheduler"></a>',
    '',
    '## The scheduler alone',
    '',
    'Planning a tick and applying its result, without an engine; all slots busy, the line kept at one length.',
    '',
    '| Slots | Waiting | Mean, µs | p50, µs | p99, µs |',
    '|---:|---:|---:|---:|---:|',
    ...schedulerMicro.map(
      ({ slots, waiting, meanMicros, p50Micros, p99Micros }) =>
        `| <a id="scheduler-${slots}-${waiting}"></a>${slots} | ${[waiting, meanMicros, p50Micros, p99Micros].map((cell) => formatNumber(cell, 0)).join(' | ')} |`,
    ),
    '',
  ];
}

function subjectsSection(results: BenchResults): string[] {
  const entries = results.subjects.flatMap(({ label, description, version, commands }) => [
    `### ${label}`,
    '',
    [description, version].filter(Boolean).join(' '),
    '',
    '```',
    ...commands,
    '```',
    '',
  ]);
  return ['## What was measured', '', ...entries];
}

function wordsSection(results: BenchResults): string[] {
  return ['## Words', '', ...definitions(results).map(([word, meaning]) => `- **${word}**: ${meaning}`), ''];
}

function escapeCell(text: string): string {
  return text.replaceAll('|', '\\|');
}
