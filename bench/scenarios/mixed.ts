import { arrivalScheduleMs } from '../load/arrivals.js';
import { type DriverResult, runClosedLoop, runOpenLoop } from '../load/drivers.js';
import { buildPrompt } from '../load/prompts.js';
import {
  generatedTokens,
  interTokenGapsMs,
  type RequestRecord,
  type RequestSpec,
  timeToFirstTokenMs,
} from '../load/records.js';
import { percentile, quantileCurve, sorted, sum } from '../load/statistics.js';
import { isNumber, latencies, recordsOf, summarize, tokensInWindow } from '../load/summary.js';
import {
  capacityOf,
  distinctRequests,
  type Scenario,
  type ScenarioContext,
  type ScenarioRun,
  timing,
} from './scenario.js';

const steadyStreams = 8;
/** Per second of the window: enough that the streams outlive most of the long prompts. */
const steadyTokensPerSecond = 30;
const longPromptTokens = 1200;
const longPromptEveryMs = 1500;
const longOutputTokens = 16;
/** A run is cut when it takes so many windows; its totals are then unknown rather than wrong. */
const longestWindows = 6;

export const interference: Scenario = {
  name: 'interference',
  title: 'Long prompts among steady streams',
  question: 'Do readers of running streams notice when others send 1,200-token prompts?',
  contextTokens: 2048,
  official: { seconds: 12, warmupSeconds: 1 },
  expectedSeconds: ({ seconds }) => 2.5 * seconds,
  headline: ['itlP50Ms', 'itlP99Ms', 'itlMaxMs', 'totalSeconds', 'longTtftP50Ms', 'longTtftP99Ms'],
  async run(context) {
    const startMs = performance.now();
    const [steady, long] = await Promise.all([runSteady(context), runLong(context)]);
    return interferenceFigures(steady.records, long.records, startMs);
  },
};

function fixedWork(context: ScenarioContext) {
  const seconds = longestWindows * context.options.seconds;
  return { ...timing(context, { seconds, drainSeconds: 0 }), warmupMs: 0 };
}

/** Every stream generates the same number of tokens once. */
function runSteady(context: ScenarioContext): Promise<DriverResult> {
  const random = context.random.fork('steady');
  const outputTokens = Math.round(steadyTokensPerSecond * context.options.seconds);
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
            outputTokens,
          },
  });
}

/** A fixed number of long prompts at fixed times. */
function runLong(context: ScenarioContext): Promise<DriverResult> {
  const random = context.random.fork('long');
  const arrivals = Math.max(1, Math.round(context.options.seconds));
  return runOpenLoop({
    ...fixedWork(context),
    arrivalsMs: Array.from({ length: arrivals }, (_, index) => (index + 1) * longPromptEveryMs),
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

const batchClients = 24;
/** Share of the capacity that interactive users take. */
const interactiveShare = 0.3;

export const batchUnderInteractive: Scenario = {
  name: 'batch-under-interactive',
  title: 'Bulk work under interactive traffic',
  question: 'What do interactive users pay for bulk work running underneath, and how much bulk work fits?',
  contextTokens: 1024,
  official: { seconds: 20, warmupSeconds: 1.5 },
  expectedSeconds: ({ seconds, warmupSeconds }) => 3 * warmupSeconds + 2.5 * seconds + 4,
  headline: [
    'interactiveTtftP50Ms',
    'interactiveTtftP99Ms',
    'interactiveItlP99Ms',
    'ttftP99Ratio',
    'itlP99Ratio',
    'batchTokensPerSecond',
    'batchOfWhatIsLeft',
    'batchOfSpareTokens',
  ],
  async run(context) {
    const ratePerSecond = interactiveShare * (await capacityOf(context));
    context.phase('interactive alone');
    const alone = await runInteractive(context, 'alone', ratePerSecond);
    context.phase('with bulk work');
    const [mixed, batch] = await Promise.all([
      runInteractive(context, 'mixed', ratePerSecond),
      runBatch(context, 'mixed', context.options.seconds),
    ]);
    context.phase('bulk work alone');
    const batchAlone = await runBatch(context, 'alone', context.options.seconds / 2);
    return {
      metrics: {
        ...interactiveFigures(alone, mixed, context),
        ...batchFigures(alone, mixed, batch, batchAlone),
        offeredRequestsPerSecond: ratePerSecond,
      },
    };
  },
};

function interactiveFigures(aloneResult: DriverResult, mixedResult: DriverResult, context: ScenarioContext) {
  const alone = latencies(recordsOf(aloneResult));
  const records = recordsOf(mixedResult);
  const mixed = latencies(records);
  const all = [...aloneResult.records, ...mixedResult.records];
  return {
    aloneTtftP50Ms: alone.ttftP50Ms!,
    aloneTtftP99Ms: alone.ttftP99Ms!,
    aloneItlP99Ms: alone.itlP99Ms!,
    interactiveTtftP50Ms: mixed.ttftP50Ms!,
    interactiveTtftP99Ms: mixed.ttftP99Ms!,
    interactiveItlP99Ms: mixed.itlP99Ms!,
    ttftP99Ratio: mixed.ttftP99Ms! / alone.ttftP99Ms!,
    itlP99Ratio: mixed.itlP99Ms! / alone.itlP99Ms!,
    interactiveGoodFraction: summarize(mixedResult, context.options.targets).goodFraction!,
    interactiveRequests: records.length,
    failedRequests: all.filter(({ outcome }) => outcome === 'failed').length,
    unfinishedRequests: all.filter(({ outcome }) => outcome === 'unfinished').length,
  };
}

/**
 * Every row of bulk work makes the ticks it joins longer, so what interactive users leave is time: the share of it in
 * which none of their requests is in the system when they are alone. Bulk work that uses all of it generates that share
 * of what it generates alone; more than that it can only have by slowing them down. `batchOfSpareTokens` asks for more:
 * both kinds of request have the same lengths, so the tokens to spare are those of bulk work alone minus theirs.
 */
function batchFigures(
  alone: DriverResult,
  mixed: DriverResult,
  batch: DriverResult,
  batchAlone: DriverResult,
) {
  const aloneTokensPerSecond = tokensPerSecond(batchAlone);
  const interactiveTokensPerSecond = tokensPerSecond(mixed);
  const batchTokensPerSecond = tokensPerSecond(batch);
  const idleShare = idleShareOf(alone);
  const ratio = (left: number) => (left > 0 ? batchTokensPerSecond / left : Number.NaN);
  return {
    batchTokensPerSecond,
    batchAloneTokensPerSecond: aloneTokensPerSecond,
    interactiveTokensPerSecond,
    interactiveIdleShare: idleShare,
    batchOfWhatIsLeft: ratio(idleShare * aloneTokensPerSecond),
    batchOfSpareTokens: ratio(aloneTokensPerSecond - interactiveTokensPerSecond),
  };
}

/** Share of the window in which no request is in the system. */
export function idleShareOf({ records, window }: Pick<DriverResult, 'records' | 'window'>): number {
  const { startMs, endMs } = window;
  let idleMs = 0;
  let busyUntilMs = startMs;
  for (const { sentAtMs, finishedAtMs } of [...records].sort((a, b) => a.sentAtMs - b.sentAtMs)) {
    idleMs += Math.max(0, Math.min(sentAtMs, endMs) - busyUntilMs);
    busyUntilMs = Math.max(busyUntilMs, finishedAtMs);
  }
  idleMs += Math.max(0, endMs - busyUntilMs);
  return idleMs / (endMs - startMs);
}

function tokensPerSecond({ records, window }: DriverResult): number {
  return (1000 * tokensInWindow(records, window)) / (window.endMs - window.startMs);
}

/** The same arrivals and prompt lengths in both phases; the prompts differ, so that no cache helps the second. */
function runInteractive(
  context: ScenarioContext,
  phase: string,
  ratePerSecond: number,
): Promise<DriverResult> {
  const durationSeconds = context.options.warmupSeconds + context.options.seconds;
  const draw = shortReplies(context, `interactive ${phase}`);
  return runOpenLoop({
    ...timing(context),
    arrivalsMs: arrivalScheduleMs(
      { ratePerSecond, durationSeconds },
      context.random.fork('interactive arrivals'),
    ),
    request: () => ({ ...draw(), tag: 'interactive', serviceTier: 'priority' }),
  });
}

function runBatch(context: ScenarioContext, phase: string, seconds: number): Promise<DriverResult> {
  const draw = shortReplies(context, `bulk ${phase}`);
  return runClosedLoop({
    ...timing(context, { seconds, drainSeconds: 0 }),
    clients: batchClients,
    nextRequest: () => ({ ...draw(), tag: 'batch', serviceTier: 'flex' }),
  });
}

/** Shorter than elsewhere, so that the window holds enough requests for a p99. */
function shortReplies(context: ScenarioContext, label: string): () => RequestSpec {
  const outputTokens = Math.max(2, Math.round((2 / 3) * context.options.outputTokens));
  return distinctRequests({ ...context, options: { ...context.options, outputTokens } }, label);
}
