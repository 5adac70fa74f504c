import { medianRatio, type Ratio } from './load/statistics.js';
import { noisyCores } from './peers/quiet.js';
import { orientedPairs } from './report/markdown.js';
import type { BenchResults, RunResult } from './report/results.js';

/** What must not get worse, as scenario and metric. */
const keyRatios = [
  ['throughput', 'generatedTokensPerSecond'],
  ['throughput', 'ttftP50Ms'],
  ['throughput', 'itlP50Ms'],
  ['shared-prefix-200', 'generatedTokensPerSecond'],
  ['shared-prefix-200', 'ttftP50Ms'],
  ['interference', 'itlP50Ms'],
  ['interference', 'itlP99Ms'],
  ['interference', 'totalSeconds'],
] as const;

/** One ratio, then and now; oriented so that above 1 is better for chairlift. */
export interface RatioChange {
  scenario: string;
  metric: string;
  before: Ratio;
  now: Ratio;
}

/** The key ratios of two sets of runs, each the median of the rounds that nobody disturbed. */
export function changesBetween(before: BenchResults, now: BenchResults): RatioChange[] {
  const median = (results: BenchResults, scenario: string, metric: string): Ratio => {
    const runs = results.runs.filter((run) => !isDisturbed(run));
    return medianRatio(orientedPairs({ ...results, runs }, scenario, metric));
  };
  return keyRatios.map(([scenario, metric]) => ({
    scenario,
    metric,
    before: median(before, scenario, metric),
    now: median(now, scenario, metric),
  }));
}

/** Two threads that wait for each other while one of them shares its core measure the scheduler of the machine. */
export function isDisturbed({ generator }: RunResult): boolean {
  return (generator.foreignCores ?? 0) > noisyCores;
}

export type Verdict = 'worse' | 'better' | 'same' | 'new';

/** Without an interval of its own a ratio is trusted this far. */
const assumedNoise = Math.log(1.1);
/** Smaller changes are not worth a line, however sure they are. */
const smallestChange = Math.log(1.05);

/** A change counts when it is larger than both intervals together (added as independent errors) and than 5%. */
export function judge({ before, now }: Pick<RatioChange, 'before' | 'now'>): Verdict {
  if (before.count === 0 || now.count === 0) return 'new';
  const change = Math.log(now.ratio / before.ratio);
  const noise = Math.hypot(logHalfWidth(before), logHalfWidth(now));
  if (Math.abs(change) <= Math.max(noise, smallestChange)) return 'same';
  return change > 0 ? 'better' : 'worse';
}

function logHalfWidth({ lower, upper }: Ratio): number {
  const halfWidth = Math.log(upper / lower) / 2;
  return Number.isFinite(halfWidth) ? halfWidth : assumedNoise;
}
