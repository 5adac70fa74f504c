import { setMaxListeners } from 'node:events';
import { arrivalScheduleMs } from '../load/arrivals.js';
import { type DriverResult, runClosedLoop, runOpenLoop } from '../load/drivers.js';
import { drawLength, spreadLength } from '../load/lengths.js';
import { buildPrompt } from '../load/prompts.js';
import {
  generatedTokens,
  interTokenGapsMs,
  type RequestRecord,
  timeToFirstTokenMs,
} from '../load/records.js';
import { percentile, quantileCurve, sorted, sum } from '../load/statistics.js';
import { isNumber, latencies, recordsOf, summarize, tokensInWindow } from '../load/summary.js';
import {
  distinctRequests,
  type Scenario,
  type ScenarioContext,
  type ScenarioRun,
  timing,
} from './scenario.js';

const steadyStreams = 8;
const steadyTokensPerSecond = 20;
const longPromptTokens = 1200;
const longPromptEveryMs = 1500;
const longOutputTokens = 16;
const longPatienceMs = 15_000;

export const interference: Scenario = {
  name: 'interference',
  title: 'Long prompts among steady streams',
  question: 'Do readers of running streams notice when others send 1,200-token prompts?',
  contextTokens: 2048,
  headline: ['itlP50Ms', 'itlP99Ms', 'itlMaxMs', 'steadyTotalSeconds', 'longTtftP50Ms', 'longTtftP99Ms'],
  async run(context) {
    const stop = new AbortController();
    const giveUp = new AbortController();
    const long = runLong(context, AbortSignal.any([context.signal, stop.signal]), giveUp.signal);
    const steadyResult = await runSteady(context);
    stop.abort();
    context.phase('long prompts still under way');
    const timer = setTimeout(() => giveUp.abort(), longPatienceMs);
    const longRecords = await long;
    clearTimeout(timer);
    return interferenceFigures(steadyResult, longRecords);
  },
};

/** A fixed amount of work: every stream generates the same number of tokens once. */
function runSteady(context: ScenarioContext): Promise<DriverResult> {
  const random = context.random.fork('steady');
  const outputTokens = steadyTokensPerSecond * Math.round(context.options.seconds);
  return runClosedLoop({
    ...timing(context, { seconds: 8 * context.options.seconds }),
    warmupMs: 0,
    clients: steadyStreams,
    nextRequest: (_, turn) =>
      turn > 0
        ? undefined
        : {
            tag: 'steady',
            prompt: buildPrompt(64, context.target.calibration, random),
            promptTokens: 64,
            outputTokens,
          },
  });
}

/** One long prompt at fixed times; those under way when the steady streams end get some time to finish. */
async function runLong(
  context: ScenarioContext,
  signal: AbortSignal,
  giveUp: AbortSignal,
): Promise<RequestRecord[]> {
  const cut = AbortSignal.any([context.signal, giveUp]);
  setMaxListeners(0, cut);
  const random = context.random.fork('long');
  const arrivals = Math.ceil((8 * context.options.seconds * 1000) / longPromptEveryMs);
  const result = await runOpenLoop({
    ...timing(context),
    warmupMs: 0,
    measureMs: 8 * context.options.seconds * 1000,
    signal,
    // The stop signal ends the arrivals; what is under way may still finish.
    send: (spec, { scheduledAtMs }) =>
      context.send(spec, { cut, ...(scheduledAtMs === undefined ? {} : { scheduledAtMs }) }),
    arrivalsMs: Array.from({ length: arrivals }, (_, index) => (index + 1) * longPromptEveryMs),
    request: () => ({
      tag: 'long',
      prompt: buildPrompt(longPromptTokens, context.target.calibration, random),
      promptTokens: longPromptTokens,
      outputTokens: longOutputTokens,
    }),
  });
  return result.records;
}

function interferenceFigures(steadyResult: DriverResult, long: readonly RequestRecord[]): ScenarioRun {
  const steady = steadyResult.records;
  const gapsMs = sorted(steady.flatMap(interTokenGapsMs));
  const longTtftMs = sorted(long.map(timeToFirstTokenMs).filter(isNumber));
  const totalMs = Math.max(...steady.map(({ finishedAtMs }) => finishedAtMs)) - steadyResult.window.startMs;
  return {
    metrics: {
      itlP50Ms: percentile(gapsMs, 0.5),
      itlP99Ms: percentile(gapsMs, 0.99),
      itlMaxMs: percentile(gapsMs, 1),
      steadyTotalSeconds: totalMs / 1000,
      steadyTokens: sum(steady.map(generatedTokens)),
      longTtftP50Ms: percentile(longTtftMs, 0.5),
      longTtftP99Ms: percentile(longTtftMs, 0.99),
      longRequests: long.length,
      failedRequests: [...steady, ...long].filter(({ outcome }) => outcome === 'failed').length,
      unfinishedRequests: [...steady, ...long].filter(({ outcome }) => outcome === 'unfinished').length,
    },
    curves: { itlMs: quantileCurve(gapsMs) },
  };
}

const interactivePerSecond = 1.5;
const batchClients = 24;

export const batchUnderInteractive: Scenario = {
  name: 'batch-under-interactive',
  title: 'Bulk work under interactive traffic',
  question: 'What do interactive users pay for bulk work running underneath, and how much bulk work fits?',
  contextTokens: 1024,
  headline: [
    'interactiveTtftP50Ms',
    'interactiveTtftP99Ms',
    'interactiveItlP99Ms',
    'ttftP99Ratio',
    'itlP99Ratio',
    'batchTokensPerSecond',
  ],
  async run(context) {
    context.phase('interactive alone');
    const alone = latencies(recordsOf(await runInteractive(context, 'alone')));
    context.phase('with bulk work');
    const [mixedResult, batchResult] = await Promise.all([
      runInteractive(context, 'mixed'),
      runBatch(context),
    ]);
    const mixed = latencies(recordsOf(mixedResult));
    const seconds = (batchResult.window.endMs - batchResult.window.startMs) / 1000;
    return {
      metrics: {
        aloneTtftP50Ms: alone.ttftP50Ms!,
        aloneTtftP99Ms: alone.ttftP99Ms!,
        aloneItlP99Ms: alone.itlP99Ms!,
        interactiveTtftP50Ms: mixed.ttftP50Ms!,
        interactiveTtftP99Ms: mixed.ttftP99Ms!,
        interactiveItlP99Ms: mixed.itlP99Ms!,
        ttftP99Ratio: mixed.ttftP99Ms! / alone.ttftP99Ms!,
        itlP99Ratio: mixed.itlP99Ms! / alone.itlP99Ms!,
        batchTokensPerSecond: tokensInWindow(batchResult.records, batchResult.window) / seconds,
        interactiveGoodFraction: summarize(mixedResult, context.options.targets).goodFraction!,
      },
    };
  },
};

/** The same arrivals and prompts lengths in both phases; the prompts differ, so that no cache helps the second. */
function runInteractive(context: ScenarioContext, phase: string): Promise<DriverResult> {
  const durationSeconds = context.options.warmupSeconds + context.options.seconds;
  const draw = distinctRequests(context, `interactive ${phase}`);
  return runOpenLoop({
    ...timing(context),
    arrivalsMs: arrivalScheduleMs(
      { ratePerSecond: interactivePerSecond, durationSeconds },
      context.random.fork('interactive arrivals'),
    ),
    request: () => ({ ...draw(), tag: 'interactive', serviceTier: 'priority' }),
  });
}

function runBatch(context: ScenarioContext): Promise<DriverResult> {
  const draw = distinctRequests(context, 'bulk');
  const random = context.random.fork('bulk lengths');
  const outputs = spreadLength(2 * context.options.outputTokens);
  return runClosedLoop({
    ...timing(context, { drainSeconds: 0 }),
    clients: batchClients,
    nextRequest: () => ({
      ...draw(),
      outputTokens: drawLength(outputs, random),
      tag: 'batch',
      serviceTier: 'flex',
    }),
  });
}
