/** Exact statistics over raw samples: no histograms, no sketches. */

/** Ascending copy; a Float64Array sorts by value. */
export function sorted(samples: Iterable<number>): Float64Array {
  return Float64Array.from(samples).sort();
}

/**
 * Nearest-rank percentile: always a value that was observed.
 * @param ascending sorted samples
 * @param fraction 0 to 1; 0.99 is p99
 * @returns NaN when there are no samples
 */
export function percentile(ascending: ArrayLike<number>, fraction: number): number {
  if (ascending.length === 0) return Number.NaN;
  // The tiny subtraction undoes float noise such as 0.07 * 100 = 7.000000000000001.
  const rank = Math.ceil(fraction * ascending.length - 1e-9);
  return ascending[Math.min(Math.max(rank, 1), ascending.length) - 1] as number;
}

export function sum(samples: Iterable<number>): number {
  let total = 0;
  for (const sample of samples) total += sample;
  return total;
}

export function mean(samples: readonly number[]): number {
  return samples.length === 0 ? Number.NaN : sum(samples) / samples.length;
}

/** Sample standard deviation (n - 1); NaN below two samples. */
export function standardDeviation(samples: readonly number[]): number {
  if (samples.length < 2) return Number.NaN;
  const center = mean(samples);
  return Math.sqrt(sum(samples.map((sample) => (sample - center) ** 2)) / (samples.length - 1));
}

export interface Estimate {
  mean: number;
  /** Half the width of the 95% interval (Student's t); NaN when there are fewer than two samples. */
  halfWidth: number;
  lowest: number;
  highest: number;
  count: number;
}

/** Mean over seeds with its 95% interval. Samples that are not finite are left out. */
export function estimate(samples: readonly number[]): Estimate {
  const finite = samples.filter((sample) => Number.isFinite(sample));
  const halfWidth =
    (studentT95(finite.length - 1) * standardDeviation(finite)) / Math.sqrt(Math.max(finite.length, 1));
  return {
    mean: mean(finite),
    halfWidth,
    lowest: finite.length === 0 ? Number.NaN : Math.min(...finite),
    highest: finite.length === 0 ? Number.NaN : Math.max(...finite),
    count: finite.length,
  };
}

export type Pair = readonly [numerator: number, denominator: number];

function logRatios(pairs: readonly Pair[]): number[] {
  return pairs.map(([a, b]) => Math.log(a / b)).filter((value) => Number.isFinite(value));
}

export interface Ratio {
  ratio: number;
  lower: number;
  upper: number;
  count: number;
}

/**
 * Geometric mean of paired ratios, with a 95% interval taken on the logarithm.
 * Pairs come from the same round of an interleaved run, so slow drift of the machine cancels out.
 */
export function pairedRatio(pairs: readonly Pair[]): Ratio {
  const { mean: center, halfWidth, count } = estimate(logRatios(pairs));
  const width = Number.isNaN(halfWidth) ? Number.POSITIVE_INFINITY : halfWidth;
  return { ratio: Math.exp(center), lower: Math.exp(center - width), upper: Math.exp(center + width), count };
}

/** Most that each side of a median's interval may miss. */
const medianRisk = 0.04;

/**
 * Median of paired ratios, between two of them that hold the true median in at least 92% of all cases, whatever the
 * distribution. A single disturbed pair moves it little; from 8 pairs on it does not reach the interval either.
 * Below 5 pairs there is no interval.
 */
export function medianRatio(pairs: readonly Pair[]): Ratio {
  const logs = sorted(logRatios(pairs));
  const count = logs.length;
  const middle = (count - 1) / 2;
  const at = (index: number): number => logs[index] ?? Number.NaN;
  const ratio = Math.exp((at(Math.floor(middle)) + at(Math.ceil(middle))) / 2);
  const outside = outsideMedianInterval(count);
  if (outside < 0) return { ratio, lower: 0, upper: Number.POSITIVE_INFINITY, count };
  return { ratio, lower: Math.exp(at(outside)), upper: Math.exp(at(count - 1 - outside)), count };
}

/** How many samples lie beyond each end of the interval, by the sign test; -1 when there are too few for one. */
function outsideMedianInterval(count: number): number {
  let outside = -1;
  let probability = 0.5 ** count;
  for (let below = probability; below <= medianRisk; below += probability) {
    outside += 1;
    probability *= (count - outside) / (outside + 1);
  }
  return outside;
}

const criticalValues = [
  12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.16, 2.145, 2.131,
  2.12, 2.11, 2.101, 2.093, 2.086,
];

/** Two-sided 95% critical value of Student's t. */
export function studentT95(degreesOfFreedom: number): number {
  if (degreesOfFreedom < 1) return Number.NaN;
  return criticalValues[degreesOfFreedom - 1] ?? 1.96 + 2.5 / degreesOfFreedom;
}

export interface QuantilePoint {
  fraction: number;
  value: number;
}

const tailFractions = [0.9975, 0.999, 0.9995, 1];

/** A compact curve for plots: every half percent, and a finer tail. */
export function quantileCurve(samples: Iterable<number>): QuantilePoint[] {
  const ascending = sorted(samples);
  if (ascending.length === 0) return [];
  const fractions = Array.from({ length: 199 }, (_, index) => (index + 1) / 200).concat(tailFractions);
  return fractions.map((fraction) => ({ fraction, value: percentile(ascending, fraction) }));
}
