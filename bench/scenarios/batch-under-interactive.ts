import { arrivalScheduleMs } from '../load/arrivals.js';
import { type DriverResult, runClosedLoop, runOpenLoop } from '../load/drivers.js';
import type { RequestSpec } from '../load/records.js';
import { latencies, recordsOf, summarize, tokensInWindow } from '../load/summary.js';
import { capacityOf, distinctRequests, type Scenario, type ScenarioContext, timing } from './scenario.js';

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
  const draw = shortReplies(context, 'interactive', phase);
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
  const draw = shortReplies(context, 'bulk', phase);
  return runClosedLoop({
    ...timing(context, { seconds, drainSeconds: 0 }),
    clients: batchClients,
    nextRequest: () => ({ ...draw(), tag: 'batch', serviceTier: 'flex' }),
  });
}

/** Shorter than elsewhere, so that the window holds enough requests for a p99. */
function shortReplies(context: ScenarioContext, kind: string, phase: string): () => RequestSpec {
  const outputTokens = Math.max(2, Math.round((2 / 3) * context.options.outputTokens));
  return distinctRequests(
    { ...context, options: { ...context.options, outputTokens } },
    `${kind} ${phase}`,
    kind,
  );
}
