import { runFixedWork } from '../load/drivers.js';
import { summarizeFixedWork } from '../load/summary.js';
import { interference, runInterference } from './interference.js';
import { sharedPrefix } from './prefix.js';
import { distinctRequests, type Scenario, type ScenarioContext, type ScenarioRun } from './scenario.js';
import { throughput } from './steady.js';

const requestsEach = 2;
const limitMs = 10_000;

/**
 * Scenarios in small, as fixed work of some seconds: all of a run is measured, and both servers of a pair do the same.
 * They share one window, so that every server starts once.
 */
export const smokeScenarios: readonly Scenario[] = [
  { ...throughput, run: runThroughput },
  sharedPrefix(200),
  {
    ...interference,
    run: (context: ScenarioContext) =>
      runInterference({ steadyTokens: 30, longPrompts: 1, longEveryMs: 300 }, context),
  },
].map((scenario) => ({
  ...scenario,
  contextTokens: 2048,
  official: { seconds: 2, warmupSeconds: 0 },
  expectedSeconds: () => 4,
}));

async function runThroughput(context: ScenarioContext): Promise<ScenarioRun> {
  const draw = distinctRequests(context, 'throughput');
  const result = await runFixedWork({
    clients: context.options.clients,
    limitMs,
    signal: context.signal,
    send: context.send,
    nextRequest: (_, turn) => (turn < requestsEach ? draw() : undefined),
  });
  return { metrics: summarizeFixedWork(result, context.options.targets) };
}
