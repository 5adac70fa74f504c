import { type Chunk, chunksOf, pairsOf, type TickPlan, tileTokens } from '../../scheduler/index.js';

/** Milliseconds of a tick, for capacity planning: finer than what the scheduler needs to decide. */
export interface CallCost {
  /** What is spent however little there is to do. */
  perTickMs: number;
  perPassMs: number;
  perTokenMs: number;
  /** On top of `perTokenMs`: output layer and sampling. */
  perSampledRowMs: number;
  /** Per pair of a token and a position it attends to. */
  perAttendedTokenMs: number;
  /** On top of that in rows of fewer than `tileTokens`, whose tokens attend one by one. */
  perShortRowAttendedTokenMs: number;
  /** Sigma of a lognormal factor; used when nothing was measured. */
  noiseSigma: number;
  /** Measured over expected, of calls of known size, shortest first. */
  noise?: readonly NoiseSample[];
}

export interface NoiseSample {
  expectedMs: number;
  factor: number;
}

export interface TimedCall {
  /** Calls of one shape have the same name. */
  shape: string;
  features: readonly number[];
  wallMs: number;
}

const terms = [
  'perTickMs',
  'perPassMs',
  'perTokenMs',
  'perSampledRowMs',
  'perAttendedTokenMs',
  'perShortRowAttendedTokenMs',
] as const;
const sweeps = 20_000;
/** A call varies like measured ones of about its size: so many of them are candidates. */
const noiseNeighbours = 32;

/** What the terms of a `CallCost` are multiplied with, in their order. */
export function featuresOf({ rows, fillers, work }: Pick<TickPlan, 'rows' | 'fillers' | 'work'>): number[] {
  const chunks = chunksOf(rows, fillers);
  const short = chunks.filter(({ tokens }) => tokens.length < tileTokens);
  return [1, work.passes, work.tokens, work.sampledRows, allPairs(chunks), allPairs(short)];
}

function allPairs(chunks: readonly Chunk[]): number {
  return chunks.reduce((sum, { tokens, firstPosition }) => sum + pairsOf(tokens.length, firstPosition), 0);
}

export function expectedMs(cost: CallCost, features: readonly number[]): number {
  return terms.reduce((sum, name, index) => sum + cost[name] * features[index]!, 0);
}

/** @param choice uniform in [0, 1). @returns a factor that was measured for a call of about this size */
export function noiseFactor(noise: readonly NoiseSample[], callMs: number, choice: number): number {
  const above = noise.findIndex((sample) => sample.expectedMs >= callMs);
  const middle = above < 0 ? noise.length : above;
  const first = Math.max(0, Math.min(middle - noiseNeighbours / 2, noise.length - noiseNeighbours));
  const candidates = Math.min(noiseNeighbours, noise.length);
  return noise[first + Math.floor(choice * candidates)]?.factor ?? 1;
}

/**
 * Least squares of relative errors over the median of each shape, no term below zero (coordinate descent). Shapes count
 * alike however often they were timed, so what was timed most does not decide what the rest costs; what a call takes
 * beyond the median is noise, and kept as such.
 */
export function fitCallCost(calls: readonly TimedCall[]): CallCost {
  const shapes = groupsOf(calls).map((group) => ({
    features: group[0]!.features,
    wallMs: lowerMedian(group.map(({ wallMs }) => wallMs)),
    group,
  }));
  const solution = nonNegativeLeastSquares(shapes);
  const fitted = Object.fromEntries(terms.map((name, index) => [name, solution[index]!]));
  const noise = shapes
    .filter(({ group }) => group.length > 1)
    .flatMap(({ group, wallMs: expectedMs }) =>
      group.map(({ wallMs }) => ({ expectedMs, factor: wallMs / expectedMs })),
    )
    .sort((left, right) => left.expectedMs - right.expectedMs);
  return { ...(fitted as Record<(typeof terms)[number], number>), noiseSigma: 0, noise };
}

function groupsOf(calls: readonly TimedCall[]): TimedCall[][] {
  const groups = new Map<string, TimedCall[]>();
  for (const call of calls) groups.set(call.shape, [...(groups.get(call.shape) ?? []), call]);
  return [...groups.values()];
}

function nonNegativeLeastSquares(
  shapes: readonly { features: readonly number[]; wallMs: number }[],
): number[] {
  const scaled = shapes.map(({ features, wallMs }) => features.map((value) => value / wallMs));
  const product = (left: number, right: number) =>
    scaled.reduce((sum, features) => sum + features[left]! * features[right]!, 0);
  const matrix = terms.map((_, row) => terms.map((_, column) => product(row, column)));
  const target = terms.map((_, row) => scaled.reduce((sum, features) => sum + features[row]!, 0));
  const solution = terms.map(() => 0);
  for (let sweep = 0; sweep < sweeps; sweep += 1) {
    for (let row = 0; row < terms.length; row += 1) {
      if (matrix[row]![row]! === 0) continue;
      let rest = target[row]!;
      for (let column = 0; column < terms.length; column += 1) {
        if (column !== row) rest -= matrix[row]![column]! * solution[column]!;
      }
      solution[row] = Math.max(0, rest / matrix[row]![row]!);
    }
  }
  return solution;
}

/** Of two the faster one: long calls are timed twice, and what disturbs them only makes them longer. */
function lowerMedian(values: readonly number[]): number {
  return [...values].sort((left, right) => left - right)[(values.length - 1) >> 1]!;
}
