import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BatchLines } from './batch-lines.js';
import { renderHtml } from './html.js';
import { type NamedResults, renderMarkdown } from './markdown.js';
import type { Overload } from './overload.js';
import type { PlanValidation } from './plan-validation.js';
import { allPlots } from './plots.js';
import type { Relay } from './relay.js';
import { type BenchResults, upgradeResults } from './results.js';
import { readThreads } from './threads.js';

/** bench/ of the repository, from the sources and from dist/ alike. */
export const benchFolder = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../' : '../../../bench/', import.meta.url),
);
export const resultsFolder = join(benchFolder, 'results');
export const threadsFile = join(resultsFolder, 'threads.json');
/** Predicted beside measured, of the capacity planner; kept beside the results of the peers. */
export const planValidationFile = join(resultsFolder, 'plan-validation.json');
export const batchLinesFile = join(resultsFolder, 'batch-lines.json');
export const overloadFile = join(resultsFolder, 'overload.json');
export const relayFile = join(resultsFolder, 'relay.json');

/** The newest committed or written results; undefined when there are none. */
export function newestResultsFile(): string | undefined {
  return resultsFiles()[0];
}

/** All results, newest first: by date, and by number where a date has several files. */
export function resultsFiles(): string[] {
  if (!existsSync(resultsFolder)) return [];
  const keyed = readdirSync(resultsFolder).flatMap((name) => {
    const [, date, number = '1'] = /^(\d{4}-\d{2}-\d{2})(?:-(\d+))?\.json$/.exec(name) ?? [];
    return date ? [{ name, key: `${date} ${number.padStart(3, '0')}` }] : [];
  });
  return keyed.sort((a, b) => (a.key < b.key ? 1 : -1)).map(({ name }) => join(resultsFolder, name));
}

/** Results of other machines or models than the page is about: files whose name has words after the date. */
export function namedResultsFiles(): string[] {
  if (!existsSync(resultsFolder)) return [];
  return readdirSync(resultsFolder)
    .filter((name) => /^\d{4}-\d{2}-\d{2}-[a-z].*\.json$/.test(name))
    .map((name) => join(resultsFolder, name));
}

/** Today's name, with a number when others have taken it. */
export function unusedResultsFile(): string {
  const today = new Date().toISOString().slice(0, 10);
  for (let number = 1; ; number += 1) {
    const file = join(resultsFolder, `${today}${number === 1 ? '' : `-${number}`}.json`);
    if (!existsSync(file)) return file;
  }
}

export function readResults(file: string): BenchResults {
  return upgradeResults(JSON.parse(readFileSync(file, 'utf8')) as BenchResults);
}

/** Written beside and renamed, so that an interrupted run never leaves half a file. Numbers keep four digits. */
export function writeResults(file: string, results: BenchResults): void {
  mkdirSync(dirname(file), { recursive: true });
  const shorten = (_: string, value: unknown): unknown =>
    typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
  writeFileSync(`${file}.part`, `${JSON.stringify(results, shorten, 1)}\n`);
  renameSync(`${file}.part`, file);
}

function readIfThere<Value>(file: string): Value | null {
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Value) : null;
}

function otherResults(file: string): NamedResults[] {
  return namedResultsFiles()
    .filter((other) => basename(other) !== basename(file))
    .map((other) => ({ file: `results/${basename(other)}`, results: readResults(other) }));
}

/** The HTML page beside the results; README and plots only from results that are kept in bench/results. */
export function writeReport(file: string, results: BenchResults): string[] {
  const page = file.replace(/\.json$/, '.html');
  writeFileSync(page, renderHtml(results));
  if (dirname(resolve(file)) !== resolve(resultsFolder)) return [page];
  const plots = allPlots(results);
  const plotFolder = join(benchFolder, 'plots');
  mkdirSync(plotFolder, { recursive: true });
  for (const { name, svg } of plots) writeFileSync(join(plotFolder, `${name}.svg`), `${svg}\n`);
  const readme = join(benchFolder, 'README.md');
  const threads = readThreads(threadsFile);
  const planValidation = readIfThere<PlanValidation>(planValidationFile);
  const batchLines = readIfThere<BatchLines>(batchLinesFile);
  const text = renderMarkdown(
    results,
    relative(benchFolder, file),
    plots,
    threads,
    planValidation,
    batchLines,
    otherResults(file),
    readIfThere<Relay>(relayFile),
    readIfThere<Overload>(overloadFile),
  );
  writeFileSync(readme, text);
  return [readme, page];
}
