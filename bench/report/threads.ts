import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { MachineInfo } from './machine.js';
import { formatNumber } from './metrics.js';

/** Mean milliseconds of decode calls of one shape. */
export interface ShapeTimes {
  rows: number;
  tokensEach: number;
  /** Calls per mode. */
  calls: number;
  /** By number of threads. */
  fixedMs: Record<string, number>;
  learnedMs: number;
  /** Share of the calls in which the learned choice was this number of threads. */
  learnedShares: Record<string, number>;
}

/** One build of llama.cpp on one machine. */
export interface BuildThreads {
  native: string;
  model: string;
  machine: MachineInfo;
  measuredAt: string;
  shapes: ShapeTimes[];
}

export function readThreads(file: string): BuildThreads[] {
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as BuildThreads[]) : [];
}

export function writeThreads(file: string, builds: readonly BuildThreads[]): void {
  const shorten = (_: string, value: unknown): unknown =>
    typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value;
  writeFileSync(file, `${JSON.stringify(builds, shorten, 1)}\n`);
}

/** A new measurement of a build replaces the old one. */
export function mergeThreads(kept: readonly BuildThreads[], added: BuildThreads): BuildThreads[] {
  return [...kept.filter(({ native }) => native !== added.native), added].sort((left, right) =>
    left.native < right.native ? 1 : -1,
  );
}

export function threadsSection(builds: readonly BuildThreads[]): string[] {
  if (builds.length === 0) return [];
  return [
    '<a id="threads"></a>',
    '',
    '## Threads per tick',
    '',
    'One decode call of this shape, with a fixed number of threads and with the number that chairlift has learned, in turns. Mean milliseconds without the slowest tenth.',
    'Repeat with `npm run bench:threads`, and with `--native prebuilt` where a build of your own exists.',
    '',
    ...builds.flatMap(buildTable),
    ...comparison(builds),
  ];
}

function buildTable({ native, model, machine, measuredAt, shapes }: BuildThreads): string[] {
  const choices = Object.keys(shapes[0]?.fixedMs ?? {});
  const most = choices.at(-1)!;
  const columns = [
    ...choices.map((threads) => `${threads} thread${threads === '1' ? '' : 's'}`),
    'learned',
    'learned against the best fixed',
    `against always ${most}`,
  ];
  return [
    `**${native}**, ${model}, ${machine.cpu}, ${measuredAt.slice(0, 10)}:`,
    '',
    `| Rows x tokens | ${columns.join(' | ')} |`,
    `|---|${columns.map(() => '---:').join('|')}|`,
    ...shapes.map(({ rows, tokensEach, fixedMs, learnedMs }) => {
      const times = choices.map((threads) => fixedMs[threads]!);
      const cells = [
        ...[...times, learnedMs].map((ms) => formatNumber(ms, 2)),
        `${formatNumber((100 * learnedMs) / Math.min(...times) - 100, 1)}%`,
        `${formatNumber(fixedMs[most]! / learnedMs, 2)}x as fast`,
      ];
      return `| ${rows} x ${tokensEach} | ${cells.join(' | ')} |`;
    }),
    '',
  ];
}

/** What a local build brings over the prebuilt one. */
function comparison(builds: readonly BuildThreads[]): string[] {
  const prebuilt = builds.find(({ native }) => native.includes('prebuilt'));
  const local = builds.find(({ native }) => native.includes('local build'));
  if (!prebuilt || !local) return [];
  return [
    '<a id="native-builds"></a>',
    '',
    '## What a build of your own brings',
    '',
    '`npm run build:native` against the prebuilt llama.cpp of node-llama-cpp, both with the learned number of threads (from the tables above).',
    '',
    '| Rows x tokens | prebuilt, ms | local build, ms | times as fast |',
    '|---|---:|---:|---:|',
    ...prebuilt.shapes.flatMap(({ rows, tokensEach, learnedMs }) => {
      const other = local.shapes.find((shape) => shape.rows === rows && shape.tokensEach === tokensEach);
      if (!other) return [];
      const cells = [learnedMs, other.learnedMs, learnedMs / other.learnedMs];
      return [`| ${rows} x ${tokensEach} | ${cells.map((cell) => formatNumber(cell, 2)).join(' | ')} |`];
    }),
    '',
  ];
}
