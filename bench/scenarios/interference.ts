import { type DriverResult, runClosedLoop, runOpenLoop } from '../load/drivers.js';
import { buildPrompt } from '../load/prompts.js';
import {
  generatedTokens,
  interTokenGapsMs,
  type RequestRecord,
  timeToFirstTokenMs,
} from '../load/records.js';
import { percentile, quantileCurve, sorted, sum } from '../load/statistics.js';
import { isNumber } from '../load/summary.js';
import {
  type LoadOptions,
  type Scenario,
  type ScenarioContext,
  type ScenarioRun,
  timing,
} from './scenario.js';

const steadyStreams = 8;
const longPromptTokens = 1200;
const longOutputTokens = 16;
/** A run is cut when it takes so many windows; its totals are then unknown rather than wrong. */
const longestWindows = 8;

/** The work of one run, the same for every server. */
export interface InterferenceWork {
  /** Of each of the 8 streams. */
  steadyTokens: number;
  longPrompts: number;
  /** The first one comes that long after the start. */
  longEveryMs: number;
}

export const interference: Scenario = {
  name: 'interference',
  title: 'Long prompts among steady streams',
  question: 'Do readers of running streams notice when others send 1,200-token prompts?',
  contextTokens: 2048,
  official: { seconds: 12, warmupSeconds: 1 },
  expectedSeconds: ({ seconds }) => 2.5 * seconds,
  headline: ['itlP50Ms', 'itlP99Ms', 'itlMaxMs', 'totalSeconds', 'longTtftP50Ms', 'longTtftP99Ms'],
  run: (context) => runInterference(officialWork(context.options), context),
};

/** Streams that outlive most of the long prompts. */
function officialWork({ seconds }: LoadOptions): InterferenceWork {
  const longPrompts = Math.max(1, Math.round(seconds));
  return { steadyTokens: Math.round(30 * seconds), longPrompts, longEveryMs: 1500 };
}

export async function runInterference(
  work: InterferenceWork,
  context: ScenarioContext,
): Promise<ScenarioRun> {
  const startMs = performance.now();
  const [steady, long] = await Promise.all([runSteady(work, context), runLong(work, context)]);
  return interferenceFigures(steady.records, long.records, startMs);
}

function fixedWork(context: ScenarioContext) {
  const seconds = longestWindows * context.options.seconds;
  return { ...timing(context, { seconds, drainSeconds: 0 }), warmupMs: 0 };
}

/** Every stream generates the same number of tokens once. */
function runSteady({ steadyTokens }: InterferenceWork, context: ScenarioContext): Promise<DriverResult> {
  const random = context.random.fork('steady');
  return runClosedLoop({
    ...fixedWork(context),
    clients: steadyStreams,
    nextRequest: (_, turn) =>
      turn > 0
        ? undefined
        : {
            tag: 'steady',
            prompt: buildPrompt(64, context.target.calibration, random),
            promptTokens: 64,
            outputTokens: steadyTokens,
          },
  });
}

/** A fixed number of long prompts at fixed times. */
function runLong(work: InterferenceWork, context: ScenarioContext): Promise<DriverResult> {
  const random = context.random.fork('long');
  return runOpenLoop({
    ...fixedWork(context),
    arrivalsMs: Array.from({ length: work.longPrompts }, (_, index) => (index + 1) * work.longEveryMs),
    request: () => ({
      tag: 'long',
      prompt: buildPrompt(longPromptTokens, context.target.calibration, random),
      promptTokens: longPromptTokens,
      outputTokens: longOutputTokens,
    }),
  });
}

function interferenceFigures(
  steady: readonly RequestRecord[],
  long: readonly RequestRecord[],
  startMs: number,
): ScenarioRun {
  const gapsMs = sorted(steady.flatMap(interTokenGapsMs));
  const longTtftMs = sorted(long.map(timeToFirstTokenMs).filter(isNumber));
  const all = [...steady, ...long];
  return {
    metrics: {
      itlP50Ms: percentile(gapsMs, 0.5),
      itlP99Ms: percentile(gapsMs, 0.99),
      itlMaxMs: percentile(gapsMs, 1),
      totalSeconds: secondsUntilDone(all, startMs),
      steadyTotalSeconds: secondsUntilDone(steady, startMs),
      steadyTokens: sum(steady.map(generatedTokens)),
      longTtftP50Ms: percentile(longTtftMs, 0.5),
      longTtftP99Ms: percentile(longTtftMs, 0.99),
      longRequests: long.length,
      failedRequests: all.filter(({ outcome }) => outcome === 'failed').length,
      rejectedRequests: all.filter(({ outcome }) => outcome === 'rejected').length,
      unfinishedRequests: all.filter(({ outcome }) => outcome === 'unfinished').length,
    },
    curves: { itlMs: quantileCurve(gapsMs) },
  };
}

/** The work is the same for every server, so its end compares; NaN when some of it was not done. */
function secondsUntilDone(records: readonly RequestRecord[], startMs: number): number {
  if (records.some(({ outcome }) => outcome !== 'ok')) return Number.NaN;
  return (Math.max(...records.map(({ finishedAtMs }) => finishedAtMs)) - startMs) / 1000;
}
