import { arrivalScheduleMs } from '../load/arrivals.js';
import { runClosedLoop, runOpenLoop } from '../load/drivers.js';
import { drawLength, type LengthDistribution } from '../load/lengths.js';
import { timeToFirstTokenMs } from '../load/records.js';
import { sum } from '../load/statistics.js';
import { recordsOf, summarize } from '../load/summary.js';
import { capacityOf, distinctRequests, type Scenario, type ScenarioContext, timing } from './scenario.js';
import { itlCurve } from './steady.js';

const survivors = 8;
const lifetimes: LengthDistribution = {
  kind: 'lognormal',
  mu: Math.log(64),
  sigma: 0.7,
  scale: 1,
  lowestTokens: 16,
  highestTokens: 240,
};

export const sparse: Scenario = {
  name: 'sparse',
  title: '8 of 32 slots alive',
  question:
    'After a rush has ended, do the few scattered streams left run as fast as eight neighbours would?',
  contextTokens: 1024,
  official: { seconds: 7, warmupSeconds: 3 },
  expectedSeconds: ({ seconds, warmupSeconds }) => 2 * (warmupSeconds + seconds + 2),
  headline: ['generatedTokensPerSecond', 'sparseOfDense', 'itlP50Ms', 'itlP99Ms', 'ttftP50Ms'],
  async run(context) {
    const draw = distinctRequests(context, 'sparse');
    const random = context.random.fork('lifetimes');
    const { clients } = context.options;
    // The survivors sit at random places of the rush, so that the slots left over are scattered.
    const surviving = new Set(
      random.shuffle(Array.from({ length: clients }, (_, index) => index)).slice(0, survivors),
    );
    context.phase(`${clients} at once, then ${survivors}`);
    const result = await runClosedLoop({
      ...timing(context),
      clients,
      nextRequest: (client, turn) => {
        if (surviving.has(client)) return { ...draw(), outputTokens: drawLength(lifetimes, random) };
        return turn === 0 ? { ...draw(), outputTokens: random.integer(2, 8) } : undefined;
      },
    });
    const metrics = summarize(result, context.options.targets);
    context.phase(`${survivors} neighbours`);
    const dense = await runClosedLoop({
      ...timing(context),
      clients: survivors,
      nextRequest: () => ({ ...draw(), outputTokens: drawLength(lifetimes, random) }),
    });
    const denseTokensPerSecond = summarize(dense, context.options.targets).generatedTokensPerSecond!;
    return {
      metrics: {
        ...metrics,
        denseTokensPerSecond,
        sparseOfDense: metrics.generatedTokensPerSecond! / denseTokensPerSecond,
      },
      curves: { itlMs: itlCurve(result) },
    };
  },
};

const overloadFactor = 3;
/** A user of an overloaded service hangs up after that long, so that a line can grow but not for ever. */
const patienceMs = 10_000;

export const overload: Scenario = {
  name: 'overload',
  title: 'Three times the capacity',
  question: 'When three times too much arrives, how many requests still get good service?',
  contextTokens: 1024,
  official: { seconds: 20, warmupSeconds: 3 },
  expectedSeconds: ({ seconds, warmupSeconds }) => warmupSeconds + seconds + 8,
  headline: [
    'goodputRequestsPerSecond',
    'goodputOfCapacity',
    'ttftP50Ms',
    'itlP99Ms',
    'rejectedRequests',
    'expiredRequests',
    'failedRequests',
  ],
  async run(context) {
    const capacity = await capacityOf(context);
    const ratePerSecond = overloadFactor * capacity;
    context.phase(`${ratePerSecond.toFixed(1)} requests/s`);
    const durationSeconds = context.options.warmupSeconds + context.options.seconds;
    const result = await runOpenLoop({
      ...timing(context),
      send: (spec, { cut, scheduledAtMs }) =>
        context.send(spec, {
          cut: AbortSignal.any([cut, AbortSignal.timeout(patienceMs)]),
          ...(scheduledAtMs === undefined ? {} : { scheduledAtMs }),
        }),
      arrivalsMs: arrivalScheduleMs({ ratePerSecond, durationSeconds }, context.random.fork('arrivals')),
      request: distinctRequests(context, 'overload'),
    });
    const metrics = summarize(result, context.options.targets);
    const rejections = result.records.filter(({ outcome }) => outcome === 'rejected');
    return {
      metrics: {
        ...metrics,
        offeredRequestsPerSecond: ratePerSecond,
        expiredRequests: metrics.unfinishedRequests!,
        unfinishedRequests: 0,
        goodputOfCapacity: metrics.goodputRequestsPerSecond! / capacity,
        rejectionsWithRetryAfter: rejections.filter((record) => record.retryAfterSeconds !== undefined)
          .length,
      },
    };
  },
};

const hangUpShare = 0.5;
const earlyHangUpShare = 0.15;

export const disconnects: Scenario = {
  name: 'disconnects',
  title: 'Clients that hang up',
  question:
    'How much useful work is left when half of the clients leave early, and is the server free at once?',
  contextTokens: 1024,
  official: { seconds: 8, warmupSeconds: 2 },
  expectedSeconds: ({ seconds, warmupSeconds }) => warmupSeconds + seconds + 1,
  headline: ['usefulTokensPerSecond', 'completedRequestsPerSecond', 'ttftP50Ms', 'ttftP99Ms', 'recoveryMs'],
  async run(context) {
    const draw = distinctRequests(context, 'disconnects');
    const random = context.random.fork('hang up');
    const result = await runClosedLoop({
      // No drain: all streams hang up at the same moment at the end.
      ...timing(context, { drainSeconds: 0 }),
      clients: context.options.clients,
      nextRequest: () => {
        const spec = draw();
        const fate = random.next();
        if (fate < earlyHangUpShare)
          return { ...spec, abortAfterChunks: 0, abortDelayMs: random.integer(5, 150) };
        if (fate < hangUpShare)
          return { ...spec, abortAfterChunks: random.integer(1, spec.outputTokens >> 1) };
        return spec;
      },
    });
    const recoveryMs = await probeRecovery(context);
    const { startMs, endMs } = result.window;
    const seconds = (endMs - startMs) / 1000;
    const useful = result.records.filter(
      ({ outcome, finishedAtMs }) => outcome === 'ok' && finishedAtMs >= startMs && finishedAtMs < endMs,
    );
    return {
      metrics: {
        ...summarize(result, context.options.targets),
        usefulTokensPerSecond: sum(useful.map((record) => record.chunkAtMs.length)) / seconds,
        // Those cut at the end hung up like the others: on purpose.
        abortedRequests: recordsOf(result).filter(({ outcome }) => /aborted|unfinished/.test(outcome)).length,
        unfinishedRequests: 0,
        recoveryMs,
      },
    };
  },
};

/** Time to first token of a lone request, right after everyone has hung up. */
async function probeRecovery(context: ScenarioContext): Promise<number> {
  context.phase('recovery');
  const spec = { ...distinctRequests(context, 'recovery')(), outputTokens: 2 };
  const record = await context.send(spec, { cut: context.signal });
  return timeToFirstTokenMs(record) ?? Number.NaN;
}
