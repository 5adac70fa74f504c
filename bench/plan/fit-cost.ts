import { percentile, sorted } from '../load/statistics.js';
import type { PlanCost } from './fleet.js';
import type { TimedTick } from './live-run.js';

const sweeps = 4000;
/** A longer pause before the next tick means that the loop had nothing to do. */
const longestPauseMs = 15;

/**
 * Least squares of relative errors under bounds of zero (coordinate descent) over whole ticks, from the start of one decode
 * call to the start of the next, so that sampling and JavaScript are part of the cost.
 */
export function fitCost(ticks: readonly TimedTick[]): PlanCost {
  const samples = ticks.slice(0, -1).flatMap((tick, index) => {
    const wallMs = ticks[index + 1]!.startMs - tick.startMs;
    return wallMs - tick.decodeMs > longestPauseMs ? [] : [{ features: featuresOf(tick), wallMs }];
  });
  const solution = [0, 0, 0, 0, 0];
  const { matrix, target } = normalEquations(samples);
  for (let sweep = 0; sweep < sweeps; sweep += 1) {
    for (let row = 0; row < solution.length; row += 1) {
      if (matrix[row]![row]! === 0) continue;
      let rest = target[row]!;
      for (let column = 0; column < solution.length; column += 1) {
        if (column !== row) rest -= matrix[row]![column]! * solution[column]!;
      }
      solution[row] = Math.max(0, rest / matrix[row]![row]!);
    }
  }
  const logErrors = sorted(
    samples.map(({ features, wallMs }) => {
      const predicted = features.reduce((sum, value, index) => sum + value * solution[index]!, 0);
      return Math.log(wallMs / predicted);
    }),
  );
  const [perTickMs, perPassMs, perTokenMs, perSampledRowMs, perAttendedTokenMs] = solution as [
    number,
    number,
    number,
    number,
    number,
  ];
  // Half the distance between the percentiles that are one sigma away: outliers do not widen it.
  const noiseSigma = (percentile(logErrors, 0.841) - percentile(logErrors, 0.159)) / 2;
  return { perTickMs, perPassMs, perTokenMs, perSampledRowMs, perAttendedTokenMs, noiseSigma };
}

function featuresOf({ work }: TimedTick): number[] {
  return [1, work.passes, work.tokens, work.sampledRows, work.attendedTokens];
}

function normalEquations(samples: readonly { features: number[]; wallMs: number }[]) {
  const matrix = Array.from({ length: 5 }, () => [0, 0, 0, 0, 0]);
  const target = [0, 0, 0, 0, 0];
  for (const { features, wallMs } of samples) {
    for (let row = 0; row < 5; row += 1) {
      target[row]! += features[row]! / wallMs;
      for (let column = 0; column < 5; column += 1) {
        matrix[row]![column]! += (features[row]! / wallMs) * (features[column]! / wallMs);
      }
    }
  }
  return { matrix, target };
}
