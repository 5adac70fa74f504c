import { arrivalScheduleMs } from '../load/arrivals.js';
import { runOpenLoop } from '../load/drivers.js';
import { type Metrics, summarize } from '../load/summary.js';
import {
  capacityOf,
  distinctRequests,
  type Point,
  type Scenario,
  type ScenarioContext,
  timing,
} from './scenario.js';

/** Fractions of the closed-loop capacity that every target is asked to carry. */
const gridFractions = [0.25, 0.5, 0.75, 1, 1.25];
/** A rate is carried when this share of its requests is good. */
const goodShare = 0.9;
const refinements = 1;
/** Below it a rate is hopeless, and so is every higher one. */
const hopelessShare = 0.05;

export interface RateStep {
  ratePerSecond: number;
  goodFraction: number;
}

export const rateSweep: Scenario = {
  name: 'rate-sweep',
  title: 'Rate sweep to the knee',
  question: 'What is the highest arrival rate at which 90% of the requests meet both targets?',
  contextTokens: 1024,
  official: { seconds: 6, warmupSeconds: 1 },
  expectedSeconds: ({ seconds, warmupSeconds }) =>
    (gridFractions.length + refinements) * (warmupSeconds + seconds + 2),
  headline: ['kneeRequestsPerSecond', 'bestGoodputRequestsPerSecond', 'kneeTtftP99Ms', 'kneeItlP99Ms'],
  async run(context) {
    const capacity = await capacityOf(context);
    const measured = new Map<number, Metrics>();
    const measure = async (ratePerSecond: number): Promise<void> => {
      context.phase(`${ratePerSecond.toFixed(2)} requests/s`);
      measured.set(ratePerSecond, await runAtRate(context, ratePerSecond));
    };
    for (const fraction of gridFractions) {
      if (context.signal.aborted) break;
      await measure(fraction * capacity);
      if (measured.get(fraction * capacity)!.goodFraction! < hopelessShare) break;
    }
    for (let round = 0; round < refinements && !context.signal.aborted; round += 1) {
      const next = nextRate(stepsOf(measured));
      if (next !== undefined) await measure(next);
    }
    return sweepFigures(measured);
  },
};

/** Low rates are measured longer, up to twice, so that about 20 requests arrive. */
export function secondsAt(ratePerSecond: number, seconds: number): number {
  return Math.min(Math.max(seconds, 20 / ratePerSecond), 2 * seconds);
}

async function runAtRate(context: ScenarioContext, ratePerSecond: number): Promise<Metrics> {
  const seconds = secondsAt(ratePerSecond, context.options.seconds);
  const durationSeconds = context.options.warmupSeconds + seconds;
  const label = ratePerSecond.toFixed(4);
  const result = await runOpenLoop({
    ...timing(context, { seconds, drainSeconds: context.options.targets.ttftMs / 1000 + 8 }),
    arrivalsMs: arrivalScheduleMs(
      { ratePerSecond, durationSeconds },
      context.random.fork(`arrivals ${label}`),
    ),
    request: distinctRequests(context, `rate ${label}`),
  });
  return summarize(result, context.options.targets);
}

/** A rate so low that nothing arrived in the window says nothing. */
function stepsOf(measured: ReadonlyMap<number, Metrics>): RateStep[] {
  return [...measured]
    .map(([ratePerSecond, metrics]) => ({ ratePerSecond, goodFraction: metrics.goodFraction ?? Number.NaN }))
    .filter(({ goodFraction }) => Number.isFinite(goodFraction));
}

/**
 * The highest rate carried below the first rate that is not carried: one lucky point above a failure does not count.
 * @returns undefined when even the lowest rate is too much
 */
export function kneeOf(steps: readonly RateStep[]): RateStep | undefined {
  let knee: RateStep | undefined;
  for (const step of [...steps].sort((a, b) => a.ratePerSecond - b.ratePerSecond)) {
    if (!(step.goodFraction >= goodShare)) return knee;
    knee = step;
  }
  return knee;
}

/** Where to look next: halfway between the knee and the rate that failed; undefined when nothing failed. */
export function nextRate(steps: readonly RateStep[]): number | undefined {
  const knee = kneeOf(steps);
  const lowest = knee?.ratePerSecond ?? 0;
  const failed = steps.map(({ ratePerSecond }) => ratePerSecond).filter((rate) => rate > lowest);
  return failed.length === 0 ? undefined : (lowest + Math.min(...failed)) / 2;
}

function sweepFigures(measured: ReadonlyMap<number, Metrics>) {
  const ascending = [...measured].sort(([a], [b]) => a - b);
  const knee = kneeOf(stepsOf(measured));
  const atKnee = knee ? measured.get(knee.ratePerSecond) : undefined;
  const column = (key: string): Point[] =>
    ascending.map(([x, metrics]) => ({ x, y: metrics[key] ?? Number.NaN }));
  return {
    metrics: {
      kneeRequestsPerSecond: knee?.ratePerSecond ?? 0,
      kneeTtftP99Ms: atKnee?.ttftP99Ms ?? Number.NaN,
      kneeItlP99Ms: atKnee?.itlP99Ms ?? Number.NaN,
      bestGoodputRequestsPerSecond: Math.max(...column('goodputRequestsPerSecond').map(({ y }) => y)),
      sendLagP99Ms: Math.max(...column('sendLagP99Ms').map(({ y }) => y)),
    },
    points: {
      goodputByRate: column('goodputRequestsPerSecond'),
      goodFractionByRate: column('goodFraction'),
      ttftP99ByRate: column('ttftP99Ms'),
    },
  };
}
