import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { renderHtml } from './html.js';
import { renderMarkdown } from './markdown.js';
import { allPlots } from './plots.js';
import type { BenchResults } from './results.js';

/** bench/ of the repository, from the sources and from dist/ alike. */
export const benchFolder = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../' : '../../../bench/', import.meta.url),
);
export const resultsFolder = join(benchFolder, 'results');

/** The newest committed or written results; undefined when there are none. */
export function newestResultsFile(): string | undefined {
  if (!existsSync(resultsFolder)) return undefined;
  const name = readdirSync(resultsFolder)
    .filter((file) => /^\d{4}-\d{2}-\d{2}.*\.json$/.test(file))
    .sort()
    .at(-1);
  return name === undefined ? undefined : join(resultsFolder, name);
}

export function todaysResultsFile(): string {
  return join(resultsFolder, `${new Date().toISOString().slice(0, 10)}.json`);
}

export function readResults(file: string): BenchResults {
  return JSON.parse(readFileSync(file, 'utf8')) as BenchResults;
}

/** Written beside and renamed, so that an interrupted run never leaves half a file. Numbers keep four digits. */
export function writeResults(file: string, results: BenchResults): void {
  mkdirSync(dirname(file), { recursive: true });
  const shorten = (_: string, value: unknown): unknown =>
    typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(6)) : value;
  writeFileSync(`${file}.part`, `${JSON.stringify(results, shorten, 1)}\n`);
  renameSync(`${file}.part`, file);
}

/** README, plots and the HTML page, all from the results. */
export function writeReport(file: string, results: BenchResults): string[] {
  const plots = allPlots(results);
  const plotFolder = join(benchFolder, 'plots');
  mkdirSync(plotFolder, { recursive: true });
  for (const { name, svg } of plots) writeFileSync(join(plotFolder, `${name}.svg`), `${svg}\n`);
  const readme = join(benchFolder, 'README.md');
  writeFileSync(readme, renderMarkdown(results, relative(benchFolder, file), plots));
  const page = file.replace(/\.json$/, '.html');
  writeFileSync(page, renderHtml(results));
  return [readme, page];
}
