import type { QuantilePoint } from '../load/statistics.js';
import type { Metrics } from '../load/summary.js';
import type { LoadOptions, Point } from '../scenarios/scenario.js';
import type { TickProfile } from '../tick-profile.js';
import type { MachineInfo } from './machine.js';

/** One run of one scenario with one seed against one server: the unit everything in a report is computed from. */
export interface RunResult {
  subject: string;
  /** Of chairlift, whose commits may differ between sittings. */
  version?: string;
  scenario: string;
  seed: number;
  startedAt: string;
  /** The measured window, and how long the whole run took. */
  seconds?: number;
  warmupSeconds?: number;
  elapsedSeconds?: number;
  metrics: Metrics;
  curves?: Record<string, QuantilePoint[]>;
  points?: Record<string, Point[]>;
  generator: GeneratorLoad;
  /** Name of the scenario at the time, where it has another one now. */
  measuredAs?: string;
  /** Why the run ended before its time; its numbers cover what was measured until then. */
  incomplete?: string;
}

/** What the load generator and others took from the machine during a run. */
export interface GeneratorLoad {
  /** CPU seconds of this process per second; 1 is one core. */
  cpuShare: number;
  eventLoopDelayP99Ms: number;
  /** CPU of processes that are neither generator nor server, in cores; only known when the server's pid is. */
  foreignCores?: number;
}

/** A server that was measured. */
export interface Subject {
  name: string;
  label: string;
  /** One line that tells how it works. */
  description: string;
  /** How it was started, one line per server profile. */
  commands: string[];
  version: string;
  features?: Record<string, string | boolean>;
}

export interface OverheadResult {
  streams: number;
  tokensPerSecondOffered: number;
  tokensPerSecondReceived: number;
  cpuShare: number;
  delayP50Ms: number;
  delayP99Ms: number;
  lostTokens: number;
}

/** Plan + apply of one tick, in microseconds, without an engine. */
export interface SchedulerMicroRow {
  slots: number;
  waiting: number;
  ticks: number;
  meanMicros: number;
  p50Micros: number;
  p99Micros: number;
}

export interface BenchResults {
  format: 2;
  createdAt: string;
  updatedAt: string;
  machine: MachineInfo;
  model: { name: string; sizeBytes?: number; sha256?: string };
  versions: Record<string, string>;
  options: LoadOptions;
  subjects: Subject[];
  runs: RunResult[];
  /** llama-batched-bench: what the arithmetic alone can do, without a server around it. */
  ceiling?: { command: string; generatedTokensPerSecond: number }[];
  overhead?: OverheadResult;
  /** Short runs that `bench:smoke` compares with. */
  smoke?: RunResult[];
  schedulerMicro?: SchedulerMicroRow[];
  ticks?: TickProfile[];
}

/**
 * Brings results of an older file up to date. Until format 2 the scenario `shared-prefix-N` was a window after warm-up,
 * which is now `shared-prefix-N-warm`.
 */
export function upgradeResults(read: Omit<BenchResults, 'format'> & { format: 1 | 2 }): BenchResults {
  if (read.format === 2) return { ...read, format: 2 };
  const rename = (run: RunResult): RunResult =>
    /^shared-prefix-\d+$/.test(run.scenario)
      ? { ...run, scenario: `${run.scenario}-warm`, measuredAs: run.scenario }
      : run;
  return {
    ...read,
    format: 2,
    runs: read.runs.map(rename),
    ...(read.smoke ? { smoke: read.smoke.map(rename) } : {}),
  };
}

/** New runs replace old ones of the same subject, scenario and seed; the rest is kept. */
export function mergeRuns(kept: readonly RunResult[], added: readonly RunResult[]): RunResult[] {
  const key = (run: RunResult): string => `${run.subject}\n${run.scenario}\n${run.seed}`;
  const replaced = new Set(added.map(key));
  return [...kept.filter((run) => !replaced.has(key(run))), ...added];
}

export function runsOf(results: BenchResults, scenario: string, subject?: string): RunResult[] {
  return results.runs.filter(
    (run) => run.scenario === scenario && (subject === undefined || run.subject === subject),
  );
}
