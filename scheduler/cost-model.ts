import type { TickWork } from './tick-work.js';

/** Milliseconds per unit of `TickWork`. */
export interface CostCoefficients {
  perPassMs: number;
  perTokenMs: number;
  perSampledRowMs: number;
  perAttendedTokenMs: number;
  perLeftoverTokenMs: number;
}

/** Until something was measured: a small model on a small machine. */
export const unmeasuredCost: CostCoefficients = {
  perPassMs: 6,
  perTokenMs: 0.8,
  perSampledRowMs: 0.5,
  perAttendedTokenMs: 0.0005,
  perLeftoverTokenMs: 0,
};

/** No fit may leave these, however strange the measurements: the planner divides by them. */
const lowest: CostCoefficients = {
  perPassMs: 0.01,
  perTokenMs: 0.0005,
  perSampledRowMs: 0,
  perAttendedTokenMs: 0,
  perLeftoverTokenMs: 0,
};
const highest: CostCoefficients = {
  perPassMs: 5_000,
  perTokenMs: 500,
  perSampledRowMs: 500,
  perAttendedTokenMs: 1,
  perLeftoverTokenMs: 500,
};

const names = [
  'perPassMs',
  'perTokenMs',
  'perSampledRowMs',
  'perAttendedTokenMs',
  'perLeftoverTokenMs',
] as const;
type Features = [
  passes: number,
  tokens: number,
  sampledRows: number,
  attendedTokens: number,
  leftoverTokens: number,
];

/** Measurements outside are a broken clock, not a decode call. */
const shortestMs = 0.001;
const longestMs = 1e7;
/** Of each shape. The typical one is their median: what disturbs fewer than half of them leaves no trace. */
const callsKept = 7;
/** So many calls in a row, of whatever shapes, that are off by this factor, all the same way: the machine changed. */
const shiftCalls = 6;
const shiftFactor = 1.4;
const ticksPerFit = 16;
const fitSweeps = 40;
/** How strongly a fit clings to the coefficients before it, in cells. */
const priorWeight = 0.02;

interface Call {
  work: TickWork;
  ms: number;
}

/**
 * How long a decode call takes, for one number of threads:
 * `perPassMs * passes + perTokenMs * tokens + perSampledRowMs * sampledRows + perAttendedTokenMs * attendedTokens
 * + perLeftoverTokenMs * leftoverTokens`.
 * The latest calls of each shape are kept, and the line is fitted through the typical one of each: a long stretch of
 * one shape does not wash out what is known of the others, as plain exponential forgetting would.
 */
export class CostModel {
  /** The latest calls of each shape, the oldest first. */
  private readonly cells = new Map<number, Call[]>();
  private fitted: CostCoefficients;
  private measurements = 0;
  /** How many times longer the latest calls took than what was typical for their shapes. */
  private slowdowns: number[] = [];
  private relativeErrorMean = 0;
  private leftoverShare: number | null = null;

  constructor(start: CostCoefficients = unmeasuredCost) {
    this.fitted = bounded(start);
  }

  get coefficients(): CostCoefficients {
    return this.fitted;
  }

  /** Mean of |predicted - measured| / measured over the latest calls. */
  get relativeError(): number {
    return this.relativeErrorMean;
  }

  /**
   * What a leftover token costs was measured by itself, in times a token's cost. In calls of every size and on a busy
   * machine it drowns: it is a twentieth of such a call.
   */
  fixLeftovers(share: number): void {
    this.leftoverShare = share;
    this.fit();
  }

  predictMs(work: TickWork): number {
    const { perPassMs, perTokenMs, perSampledRowMs, perAttendedTokenMs, perLeftoverTokenMs } = this.fitted;
    return (
      perPassMs * work.passes +
      perTokenMs * work.tokens +
      perSampledRowMs * work.sampledRows +
      perAttendedTokenMs * work.attendedTokens +
      perLeftoverTokenMs * work.leftoverTokens
    );
  }

  /** The latest calls of this shape, each scaled to this work by the line, ascending. */
  recentMs(work: TickWork): number[] {
    const predictedMs = this.predictMs(work);
    return this.byCost(this.cells.get(cellKey(work)) ?? []).map(({ ratio }) => ratio * predictedMs);
  }

  /** @returns whether the whole machine became slower or faster for this number of threads */
  observe(work: TickWork, measuredMs: number): boolean {
    if (!(measuredMs >= shortestMs && measuredMs <= longestMs)) return false;
    const error = Math.abs(this.predictMs(work) - measuredMs) / measuredMs;
    this.relativeErrorMean +=
      (Math.min(error, 1) - this.relativeErrorMean) * (this.measurements === 0 ? 1 : 0.02);
    this.measurements += 1;
    const changed = this.followTheMachine(work, measuredMs);
    this.remember(work, measuredMs);
    if (this.measurements < ticksPerFit || this.measurements % ticksPerFit === 0) this.fit();
    return changed;
  }

  /** Other work on the same cores makes every call slower, and its end every call faster. */
  private followTheMachine(work: TickWork, measuredMs: number): boolean {
    const expectedMs = median(this.recentMs(work));
    if (expectedMs === undefined) return false;
    this.slowdowns = [...this.slowdowns, measuredMs / expectedMs].slice(-shiftCalls);
    const ascending = [...this.slowdowns].sort((left, right) => left - right);
    const isSlower = ascending[0]! >= shiftFactor;
    const isFaster = ascending.at(-1)! <= 1 / shiftFactor;
    if (ascending.length < shiftCalls || !(isSlower || isFaster)) return false;
    this.slowdowns = [];
    for (const calls of this.cells.values()) for (const call of calls) call.ms *= median(ascending)!;
    return true;
  }

  private remember(work: TickWork, ms: number): void {
    const key = cellKey(work);
    const calls = this.cells.get(key) ?? [];
    this.cells.set(key, [...calls, { work, ms }].slice(-callsKept));
  }

  /** Ascending by how many times longer each took than the line says. */
  private byCost(calls: readonly Call[]): { call: Call; ratio: number }[] {
    return calls
      .map((call) => ({ call, ratio: call.ms / this.predictMs(call.work) }))
      .sort((left, right) => left.ratio - right.ratio);
  }

  /** Least squares of relative errors under bounds, by projected Gauss-Seidel. */
  private fit(): void {
    const solution = coefficientList(this.fitted);
    const prior = [...solution];
    const equations = this.normalEquations();
    for (let sweep = 0; sweep < fitSweeps; sweep += 1) {
      for (let row = 0; row < names.length; row += 1) {
        const diagonal = equations.matrix[row]![row]!;
        if (diagonal <= 0) continue;
        const ridge = priorWeight * diagonal;
        let rest = equations.target[row]! + ridge * prior[row]!;
        for (let column = 0; column < names.length; column += 1) {
          if (column !== row) rest -= equations.matrix[row]![column]! * solution[column]!;
        }
        const name = names[row]!;
        solution[row] = Math.min(highest[name], Math.max(lowest[name], rest / (diagonal + ridge)));
      }
    }
    const fitted = coefficientsFrom(solution);
    this.fitted =
      this.leftoverShare === null
        ? fitted
        : { ...fitted, perLeftoverTokenMs: this.leftoverShare * fitted.perTokenMs };
  }

  private normalEquations(): { matrix: number[][]; target: number[] } {
    const matrix = names.map(() => names.map(() => 0));
    const target = names.map(() => 0);
    for (const calls of this.cells.values()) {
      const { work, ms } = median(this.byCost(calls))!.call;
      const scaled = this.featuresOf(work).map((value) => value / ms);
      for (let row = 0; row < names.length; row += 1) {
        target[row]! += scaled[row]!;
        for (let column = 0; column < names.length; column += 1) {
          matrix[row]![column]! += scaled[row]! * scaled[column]!;
        }
      }
    }
    return { matrix, target };
  }

  private featuresOf({ passes, tokens, sampledRows, attendedTokens, leftoverTokens }: TickWork): Features {
    const share = this.leftoverShare;
    if (share === null) return [passes, tokens, sampledRows, attendedTokens, leftoverTokens];
    return [passes, tokens + share * leftoverTokens, sampledRows, attendedTokens, 0];
  }
}

function coefficientList(coefficients: CostCoefficients): number[] {
  return names.map((name) => coefficients[name]);
}

function coefficientsFrom(values: readonly number[]): CostCoefficients {
  const [perPassMs, perTokenMs, perSampledRowMs, perAttendedTokenMs, perLeftoverTokenMs] = values as Features;
  return { perPassMs, perTokenMs, perSampledRowMs, perAttendedTokenMs, perLeftoverTokenMs };
}

function bounded(coefficients: CostCoefficients): CostCoefficients {
  return coefficientsFrom(
    names.map((name) => Math.min(highest[name], Math.max(lowest[name], coefficients[name]))),
  );
}

/** The lower one of an even number; undefined: of none. */
export function median<T>(ascending: readonly T[]): T | undefined {
  return ascending[(ascending.length - 1) >> 1];
}

/** Shapes that behave alike: rows, other tokens and attention by powers of two, passes exactly up to 4, leftovers or none. */
export function cellKey({ passes, tokens, sampledRows, attendedTokens, leftoverTokens }: TickWork): number {
  const rows = sampledRows <= 2 ? sampledRows : 2 + magnitude(sampledRows - 1);
  const key = (Math.min(passes, 4) * 2 + Math.min(leftoverTokens, 1)) * 32 + rows;
  return (key * 64 + magnitude(tokens - sampledRows)) * 64 + magnitude(attendedTokens / 256);
}

/** 0 for 0, then rising by one with every doubling. */
function magnitude(value: number): number {
  return Math.round(Math.log2(value + 1));
}
