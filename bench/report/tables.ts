import { type Estimate, estimate } from '../load/statistics.js';
import type { Scenario } from '../scenarios/scenario.js';
import { formatMetric, metricHeading, metricInfo } from './metrics.js';
import { type BenchResults, type RunResult, runsOf } from './results.js';

/** A table as data; terminal, HTML and Markdown only draw it. */
export interface Table {
  columns: string[];
  rows: { subject: string; label: string; cells: Cell[]; note?: string }[];
}

export interface Cell {
  /** The mean over seeds. */
  text: string;
  /** Half width of the 95% interval, or nothing with a single seed. */
  spread: string;
  isBest: boolean;
}

/** One row per server that ran the scenario, one column per headline metric that anyone has. */
export function scenarioTable(results: BenchResults, scenario: Scenario): Table {
  const subjects = results.subjects.filter(({ name }) => runsOf(results, scenario.name, name).length > 0);
  const keys = scenario.headline.filter((key) =>
    runsOf(results, scenario.name).some((run) => Number.isFinite(run.metrics[key])),
  );
  const estimates = subjects.map(({ name }) =>
    keys.map((key) => metricEstimate(runsOf(results, scenario.name, name), key)),
  );
  const best = keys.map((key, column) =>
    bestRow(
      key,
      estimates.map((row) => row[column]!.mean),
    ),
  );
  return {
    columns: keys.map(metricHeading),
    rows: subjects.map(({ name, label }, row) => ({
      subject: name,
      label,
      cells: keys.map((key, column) => ({
        ...formatEstimate(key, estimates[row]![column]!),
        isBest: subjects.length > 1 && best[column] === row,
      })),
      ...noteOf(runsOf(results, scenario.name, name)),
    })),
  };
}

export function metricEstimate(runs: readonly RunResult[], key: string): Estimate {
  return estimate(runs.map((run) => run.metrics[key] ?? Number.NaN));
}

function formatEstimate(key: string, value: Estimate): { text: string; spread: string } {
  const hasSpread = Number.isFinite(value.halfWidth);
  return {
    text: formatMetric(key, value.mean),
    spread: hasSpread ? `±${formatMetric(key, value.halfWidth)}` : '',
  };
}

function bestRow(key: string, means: readonly number[]): number {
  const { better } = metricInfo(key);
  if (better === 'neither') return -1;
  const sign = better === 'higher' ? 1 : -1;
  let best = -1;
  for (const [row, value] of means.entries()) {
    if (Number.isFinite(value) && (best === -1 || sign * value > sign * means[best]!)) best = row;
  }
  return best;
}

/** What a reader must know before trusting a row. */
function noteOf(runs: readonly RunResult[]): { note?: string } {
  const notes: string[] = [];
  const total = (key: string): number => runs.reduce((sum, run) => sum + (run.metrics[key] ?? 0), 0);
  const former = runs.find((run) => run.measuredAs)?.measuredAs;
  if (former) notes.push(`measured when this scenario was called ${former}`);
  const incomplete = runs.find((run) => run.incomplete);
  if (incomplete) notes.push(`cut short: ${incomplete.incomplete}`);
  if (total('failedRequests') > 0) notes.push(`${total('failedRequests')} requests failed`);
  if (total('unfinishedRequests') > 0) notes.push(`${total('unfinishedRequests')} requests unfinished`);
  if (total('shortOutputs') > 0) notes.push(`${total('shortOutputs')} replies shorter than asked`);
  const foreign = Math.max(...runs.map((run) => run.generator.foreignCores ?? 0));
  if (foreign > 0.2) notes.push(`others used up to ${foreign.toFixed(1)} cores meanwhile`);
  return notes.length > 0 ? { note: notes.join('; ') } : {};
}

/** Plain text with aligned columns, for the terminal. */
export function renderTextTable(table: Table, firstHeading: string): string {
  const head = [firstHeading, ...table.columns];
  const body = table.rows.map((row) => [
    row.label,
    ...row.cells.map(({ text, spread }) => (spread ? `${text} ${spread}` : text)),
  ]);
  const widths = head.map((heading, column) =>
    Math.max(heading.length, ...body.map((cells) => cells[column]!.length)),
  );
  const line = (cells: string[]): string =>
    cells
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)))
      .join('  ');
  const rule = widths.map((width) => '-'.repeat(width)).join('  ');
  const notes = table.rows.filter(({ note }) => note).map(({ label, note }) => `  ! ${label}: ${note}`);
  return [line(head), rule, ...body.map(line), ...notes].join('\n');
}
