import { type DriverResult, runClosedLoop } from '../load/drivers.js';
import { type QuantilePoint, quantileCurve } from '../load/statistics.js';
import { gapsInWindow, summarize } from '../load/summary.js';
import { distinctRequests, type Point, type Scenario, timing } from './scenario.js';

export const throughput: Scenario = {
  name: 'throughput',
  title: 'Throughput, all slots busy',
  question: 'How many tokens per second come out when every client always has a request running?',
  contextTokens: 1024,
  official: { seconds: 10, warmupSeconds: 3 },
  expectedSeconds: ({ seconds, warmupSeconds }) => warmupSeconds + seconds + 5,
  headline: [
    'generatedTokensPerSecond',
    'completedRequestsPerSecond',
    'ttftP50Ms',
    'ttftP99Ms',
    'itlP50Ms',
    'itlP99Ms',
  ],
  async run(context) {
    const result = await runClosedLoop({
      ...timing(context),
      clients: context.options.clients,
      nextRequest: distinctRequests(context, 'throughput'),
    });
    return { metrics: summarize(result, context.options.targets), curves: { itlMs: itlCurve(result) } };
  },
};

export const single: Scenario = {
  name: 'single',
  title: 'One client alone',
  question: 'How fast is the server for a single user?',
  contextTokens: 1024,
  official: { seconds: 8, warmupSeconds: 1 },
  expectedSeconds: ({ seconds, warmupSeconds }) => warmupSeconds + seconds + 1,
  headline: ['generatedTokensPerSecond', 'ttftP50Ms', 'itlP50Ms', 'itlP99Ms'],
  async run(context) {
    const draw = distinctRequests(context, 'single');
    const result = await runClosedLoop({
      ...timing(context),
      clients: 1,
      nextRequest: () => ({ ...draw(), outputTokens: 2 * context.options.outputTokens }),
    });
    return { metrics: summarize(result, context.options.targets), curves: { itlMs: itlCurve(result) } };
  },
};

export const concurrency: Scenario = {
  name: 'concurrency',
  title: 'Throughput against concurrency',
  question: 'How does the output grow with the number of clients?',
  contextTokens: 1024,
  official: { seconds: 6, warmupSeconds: 1.5 },
  expectedSeconds: ({ seconds, warmupSeconds }) => 4 * (warmupSeconds + seconds / 2 + 2.5),
  headline: ['tokensPerSecondAt1', 'tokensPerSecondAt4', 'tokensPerSecondAt16', 'tokensPerSecondAt32'],
  async run(context) {
    const points: Point[] = [];
    const metrics: Record<string, number> = {};
    for (const clients of clientSteps(context.options.clients)) {
      if (context.signal.aborted) break;
      context.phase(`${clients} clients`);
      const result = await runClosedLoop({
        ...timing(context, { seconds: context.options.seconds / 2 }),
        clients,
        nextRequest: distinctRequests(context, `concurrency ${clients}`),
      });
      const { generatedTokensPerSecond = Number.NaN } = summarize(result, context.options.targets);
      points.push({ x: clients, y: generatedTokensPerSecond });
      metrics[`tokensPerSecondAt${clients}`] = generatedTokensPerSecond;
    }
    return { metrics, points: { tokensPerSecondByClients: points } };
  },
};

/** Powers of four up to the number of clients, and that number itself. */
export function clientSteps(clients: number): number[] {
  const steps: number[] = [];
  for (let step = 1; step < clients; step *= 4) steps.push(step);
  return [...steps, clients];
}

export function itlCurve(result: DriverResult): QuantilePoint[] {
  return quantileCurve(gapsInWindow(result));
}
