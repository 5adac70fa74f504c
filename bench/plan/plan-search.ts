import { arrivalScheduleMs } from '../load/arrivals.js';
import { drawLength, type LengthDistribution } from '../load/lengths.js';
import { Random } from '../load/random.js';
import { type PlannedRequest, simulateFleet, type WorkerShape } from './fleet.js';
import { isGood, type PlanMetrics, planMetrics, type Targets } from './plan-metrics.js';

/** What traffic there is and what is wanted for it. */
export interface Question {
  promptTokens: LengthDistribution;
  outputTokens: LengthDistribution;
  sharedPrefix: { tokens: number; share: number; families: number };
  targets: Targets;
  /** Share of requests that has to meet the targets, 0 to 1. */
  attainment: number;
  seconds: number;
  seed: string;
  worker: Omit<WorkerShape, 'slots'>;
}

export interface Fit {
  slots: number;
  workers: number;
  metrics: PlanMetrics;
}

/** The beginning fills the slots and teaches the scheduler its costs. */
const warmUpShare = 0.15;

/** What a fleet of this size makes of Poisson arrivals at this rate. */
export function evaluate(
  question: Question,
  ratePerSecond: number,
  slots: number,
  workers: number,
): PlanMetrics {
  const { targets, seconds } = question;
  const outcomes = run(question, ratePerSecond, slots, workers);
  return planMetrics(outcomes, targets, { startMs: warmUpShare * seconds * 1000, endMs: seconds * 1000 });
}

/** The fewest workers, and with them the fewest slots, that meet the targets; null: not even `mostWorkers` do. */
export function cheapest(
  question: Question,
  ratePerSecond: number,
  slotChoices: readonly number[],
  mostWorkers: number,
): Fit | null {
  let tooFew = 0;
  let workers = 1;
  let found = fitWith(question, ratePerSecond, slotChoices, workers);
  while (!found && workers < mostWorkers) {
    tooFew = workers;
    workers = Math.min(workers * 2, mostWorkers);
    found = fitWith(question, ratePerSecond, slotChoices, workers);
  }
  while (found && found.workers - tooFew > 1) {
    const middle = Math.floor((found.workers + tooFew) / 2);
    const fewer = fitWith(question, ratePerSecond, slotChoices, middle);
    if (fewer) found = fewer;
    else tooFew = middle;
  }
  return found;
}

function fitWith(
  question: Question,
  rate: number,
  slotChoices: readonly number[],
  workers: number,
): Fit | null {
  for (const slots of slotChoices) {
    if (!couldMeet(question, rate, slots, workers)) continue;
    const metrics = evaluate(question, rate, slots, workers);
    if (metrics.goodFraction >= question.attainment) return { slots, workers, metrics };
  }
  return null;
}

/** Gives up as soon as more requests missed the targets than may. */
function couldMeet(question: Question, rate: number, slots: number, workers: number): boolean {
  const { seconds, targets, attainment } = question;
  let left = Math.max(2, rate * seconds * (1 - attainment) * 1.5);
  run(question, rate, slots, workers, (outcome) => {
    if (outcome.arrivalMs >= warmUpShare * seconds * 1000 && !isGood(outcome, targets)) left -= 1;
    return left > 0;
  });
  return left > 0;
}

function run(
  question: Question,
  ratePerSecond: number,
  slots: number,
  workers: number,
  goOn: Parameters<typeof simulateFleet>[0]['goOn'] = () => true,
) {
  const random = new Random(`plan/${question.seed}/${ratePerSecond}`);
  const arrivalsMs = arrivalScheduleMs(
    { ratePerSecond, durationSeconds: question.seconds },
    random.fork('arrivals'),
  );
  return simulateFleet({
    worker: { ...question.worker, slots },
    workers,
    load: { kind: 'open', arrivalsMs },
    draw: (index) => drawRequest(question, random.fork(`request ${index}`)),
    random: random.fork('noise'),
    goOn,
  });
}

function drawRequest(
  { promptTokens, outputTokens, sharedPrefix, worker }: Question,
  random: Random,
): PlannedRequest {
  const isShared = random.next() < sharedPrefix.share;
  const sharedTokens = isShared ? sharedPrefix.tokens : 0;
  const output = Math.min(drawLength(outputTokens, random), Math.floor(worker.contextTokens / 2));
  const prompt = Math.min(sharedTokens + drawLength(promptTokens, random), worker.contextTokens - output);
  return {
    promptTokens: prompt,
    outputTokens: output,
    sharedTokens,
    family: random.integer(1, sharedPrefix.families),
  };
}
