import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import type { MachineInfo } from './machine.js';
import { formatNumber } from './metrics.js';

/** Median milliseconds of decode calls of one shape. */
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

/** All shapes once, in one process. */
export interface ThreadsRun {
  measuredAt: string;
  shapes: ShapeTimes[];
}

/** One build of llama.cpp with one model on one machine. */
export interface BuildThreads {
  native: string;
  model: string;
  machine: MachineInfo;
  runs: ThreadsRun[];
}

/** Beyond the best fixed number of threads. */
const mostLossShare = 0.03;
/** Of one row against always as many threads as there are. */
const oneRowGoal = 2;

export function readThreads(file: string): BuildThreads[] {
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as BuildThreads[]) : [];
}

export function writeThreads(file: string, builds: readonly BuildThreads[]): void {
  const shorten = (_: string, value: unknown): unknown =>
    typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value;
  writeFileSync(file, `${JSON.stringify(builds, shorten, 1)}\n`);
}

/** @param again adds the runs to those of the same build, model and machine; else they replace them */
export function mergeThreads(
  kept: readonly BuildThreads[],
  added: BuildThreads,
  again = false,
): BuildThreads[] {
  const earlier = kept.find((build) => isSame(build, added));
  const runs = again && earlier ? [...earlier.runs, ...added.runs] : added.runs;
  return [...kept.filter((build) => build !== earlier), { ...added, runs }].sort((left, right) =>
    left.native < right.native ? 1 : -1,
  );
}

function isSame(left: BuildThreads, right: BuildThreads): boolean {
  return left.native === right.native && isComparable(left, right);
}

function isComparable(left: BuildThreads, right: BuildThreads): boolean {
  return left.model === right.model && left.machine.cpu === right.machine.cpu;
}

export function threadsSection(builds: readonly BuildThreads[]): string[] {
  if (builds.length === 0) return [];
  return [
    '<a id="threads"></a>',
    '',
    '## Threads per tick',
    '',
    'One decode call of this shape, with a fixed number of threads and with the number that chairlift has learned, in turns. Milliseconds: median call of a run, mean of the runs.',
    'Repeat with `npm run bench:threads`, and with `--native prebuilt` where a build of your own exists; `--again` adds a run.',
    '',
    ...builds.flatMap(buildTable),
    ...comparisons(builds),
  ];
}

function buildTable(build: BuildThreads): string[] {
  const { native, model, machine, runs } = build;
  const shapes = meanShapes(runs);
  const choices = choicesOf(shapes);
  const most = choices.at(-1)!;
  const columns = [
    ...choices.map((threads) => `${threads} thread${threads === '1' ? '' : 's'}`),
    'learned',
    'which took',
    'learned against the best fixed',
    `against always ${most}`,
  ];
  const times = `${runs.length} run${runs.length === 1 ? '' : 's'}`;
  return [
    `**${native}**, ${model}, ${machine.cpu}, ${times}, ${runs.at(-1)!.measuredAt.slice(0, 10)}:`,
    '',
    `| Rows x tokens | ${columns.join(' | ')} |`,
    `|---|${columns.map(() => '---:').join('|')}|`,
    ...shapes.map((shape) => {
      const { rows, tokensEach, fixedMs, learnedMs } = shape;
      const cells = [
        ...[...choices.map((threads) => fixedMs[threads]!), learnedMs].map((ms) => formatNumber(ms, 2)),
        takenText(shape),
        `${formatNumber(100 * lossShare(shape), 1)}%`,
        `${formatNumber(fixedMs[most]! / learnedMs, 2)}x as fast`,
      ];
      return `| ${rows} x ${tokensEach} | ${cells.join(' | ')} |`;
    }),
    '',
    ...verdicts(shapes, native.includes('prebuilt')),
  ];
}

/** For example `2` or `1 (97%), 2 (3%)`, the most frequent first. */
function takenText({ learnedShares }: ShapeTimes): string {
  const taken = Object.entries(learnedShares).filter(([, share]) => share >= 0.005);
  if (taken.length === 1) return taken[0]![0];
  return taken
    .sort(([, left], [, right]) => right - left)
    .map(([threads, share]) => `${threads} (${formatNumber(100 * share, 0)}%)`)
    .join(', ');
}

/** What was asked of the learned number of threads, and what came of it. */
function verdicts(shapes: readonly ShapeTimes[], isPrebuilt: boolean): string[] {
  const worst = shapes.reduce((worst, shape) => (lossShare(shape) > lossShare(worst) ? shape : worst));
  const met = (isMet: boolean): string => (isMet ? 'met' : '**missed**');
  const lines = [
    `- Goal: nowhere more than ${100 * mostLossShare}% slower than the best fixed number. Worst: ${formatNumber(100 * lossShare(worst), 1)}% at ${worst.rows} x ${worst.tokensEach}; ${met(lossShare(worst) <= mostLossShare)}.`,
  ];
  const oneRow = shapes.find(({ rows, tokensEach }) => rows === 1 && tokensEach === 1);
  const choices = choicesOf(shapes);
  if (isPrebuilt && oneRow && choices.length > 1) {
    const most = choices.at(-1)!;
    const ratio = oneRow.fixedMs[most]! / oneRow.learnedMs;
    const bound = oneRow.fixedMs[most]! / Math.min(...choices.map((threads) => oneRow.fixedMs[threads]!));
    const premise =
      bound < oneRowGoal
        ? `; no choice could reach it here, the best fixed number is ${formatNumber(bound, 2)}x as fast`
        : '';
    lines.push(
      `- Goal: one row at least ${oneRowGoal}x as fast as with always ${most} threads. ${formatNumber(ratio, 2)}x; ${met(ratio >= oneRowGoal)}${premise}.`,
    );
  }
  return [...lines, ''];
}

function choicesOf(shapes: readonly ShapeTimes[]): string[] {
  return Object.keys(shapes[0]?.fixedMs ?? {});
}

function lossShare(shape: ShapeTimes): number {
  return shape.learnedMs / bestFixedMs(shape) - 1;
}

function bestFixedMs({ fixedMs }: ShapeTimes): number {
  return Math.min(...Object.values(fixedMs));
}

/** Each shape of the last run, with the means over all runs that have it. */
function meanShapes(runs: readonly ThreadsRun[]): ShapeTimes[] {
  return (runs.at(-1)?.shapes ?? []).map((shape) => {
    const all = runs.flatMap(({ shapes }) => findShape(shapes, shape) ?? []);
    const meanBy = (pick: (each: ShapeTimes) => number): number =>
      all.reduce((total, each) => total + pick(each), 0) / all.length;
    const byThreads = (pick: (each: ShapeTimes) => Record<string, number>): Record<string, number> =>
      Object.fromEntries(
        Object.keys(shape.fixedMs).map((threads) => [threads, meanBy((each) => pick(each)[threads]!)]),
      );
    return {
      ...shape,
      fixedMs: byThreads(({ fixedMs }) => fixedMs),
      learnedMs: meanBy(({ learnedMs }) => learnedMs),
      learnedShares: byThreads(({ learnedShares }) => learnedShares),
    };
  });
}

function findShape(shapes: readonly ShapeTimes[], like: ShapeTimes): ShapeTimes | undefined {
  return shapes.find(({ rows, tokensEach }) => rows === like.rows && tokensEach === like.tokensEach);
}

/** What a local build brings over the prebuilt one, for each machine and model that has both. */
function comparisons(builds: readonly BuildThreads[]): string[] {
  const tables = builds.flatMap((prebuilt) => {
    if (!prebuilt.native.includes('prebuilt')) return [];
    const local = builds.find(
      (build) => build.native.includes('local build') && isComparable(build, prebuilt),
    );
    return local ? comparisonTable(prebuilt, local) : [];
  });
  if (tables.length === 0) return [];
  return [
    '<a id="native-builds"></a>',
    '',
    '## What a build of your own brings',
    '',
    '`npm run build:native` against the prebuilt llama.cpp of node-llama-cpp, each with its best fixed number of threads, so that what was learned plays no part (from the tables above). Range: the runs in turn, one by one.',
    '',
    ...tables,
  ];
}

function comparisonTable(prebuilt: BuildThreads, local: BuildThreads): string[] {
  const locals = meanShapes(local.runs);
  return [
    `${prebuilt.model}, ${prebuilt.machine.cpu}:`,
    '',
    '| Rows x tokens | prebuilt, ms | local build, ms | times as fast | range |',
    '|---|---:|---:|---:|---:|',
    ...meanShapes(prebuilt.runs).flatMap((shape) => {
      const other = findShape(locals, shape);
      if (!other) return [];
      const ratios = prebuilt.runs.flatMap(({ shapes }, index) => {
        const before = findShape(shapes, shape);
        const after = findShape(local.runs[index]?.shapes ?? [], shape);
        return before && after ? [bestFixedMs(before) / bestFixedMs(after)] : [];
      });
      const range = [Math.min(...ratios), Math.max(...ratios)].map((ratio) => formatNumber(ratio, 2));
      const [beforeMs, afterMs] = [bestFixedMs(shape), bestFixedMs(other)];
      const cells = [beforeMs, afterMs, beforeMs / afterMs];
      return [
        `| ${shape.rows} x ${shape.tokensEach} | ${cells.map((cell) => formatNumber(cell, 2)).join(' | ')} | ${range.join(' – ')} |`,
      ];
    }),
    '',
  ];
}
