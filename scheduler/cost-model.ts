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
/** Weight of a new measurement in the mean of its cell. */
const forgetting = 0.1;
/** Nothing makes a call faster than the machine is: one so much faster than its cell counts more. */
const fasterFactor = 1.5;
const fasterWeight = 0.5;
/** A single call may look this many times slower than its cell at most: a scheduling hiccup is not a trend. */
const outlierFactor = 4;
/** So many calls in a row that are off by this factor, all the same way, are no hiccup: the whole machine changed. */
const shiftCalls = 3;
const shiftFactor = 3;
const ticksPerFit = 16;
const fitSweeps = 40;
/** How strongly a fit clings to the coefficients before it, in cells. */
const priorWeight = 0.02;

interface Cell {
  features: Features;
  measuredMs: number;
  count: number;
}

/**
 * How long a decode call takes, for one number of threads:
 * `perPassMs * passes + perTokenMs * tokens + perSampledRowMs * sampledRows + perAttendedTokenMs * attendedTokens
 * + perLeftoverTokenMs * leftoverTokens`.
 * Measurements are averaged per shape of call, and the line is fitted through the cells: a long stretch of one shape
 * updates its own cell and does not wash out what is known of the others, as plain exponential forgetting would.
 */
export class CostModel {
  private readonly cells = new Map<number, Cell>();
  private fitted: CostCoefficients;
  private measurements = 0;
  /** Calls in a row that were far slower (positive) or far faster (negative) than their cells. */
  private shifts = 0;
  private relativeErrorMean = 0;

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

  /** How long calls of exactly this shape took lately; null: none was seen. */
  measuredMs(work: TickWork): number | null {
    return this.cells.get(cellKey(work))?.measuredMs ?? null;
  }

  observe(work: TickWork, measuredMs: number): void {
    if (!(measuredMs >= shortestMs && measuredMs <= longestMs)) return;
    const error = Math.abs(this.predictMs(work) - measuredMs) / measuredMs;
    this.relativeErrorMean +=
      (Math.min(error, 1) - this.relativeErrorMean) * (this.measurements === 0 ? 1 : 0.02);
    this.measurements += 1;
    this.followTheMachine(work, measuredMs);
    this.remember(work, measuredMs);
    if (this.measurements < ticksPerFit || this.measurements % ticksPerFit === 0) this.fit();
  }

  /** Other work on the same cores makes every call several times slower, and its end every call faster. */
  private followTheMachine(work: TickWork, measuredMs: number): void {
    const expectedMs = this.measuredMs(work);
    if (expectedMs === null) return;
    const ratio = measuredMs / expectedMs;
    const direction = ratio >= shiftFactor ? 1 : ratio <= 1 / shiftFactor ? -1 : 0;
    this.shifts =
      direction !== 0 && Math.sign(this.shifts) === direction ? this.shifts + direction : direction;
    if (Math.abs(this.shifts) < shiftCalls) return;
    this.shifts = 0;
    this.scaleCells(shiftFactor ** direction);
  }

  private scaleCells(factor: number): void {
    for (const cell of this.cells.values()) cell.measuredMs *= factor;
  }

  private remember(work: TickWork, measuredMs: number): void {
    const key = cellKey(work);
    const features = featuresOf(work);
    const cell = this.cells.get(key);
    if (!cell) {
      this.cells.set(key, { features, measuredMs, count: 1 });
      return;
    }
    cell.count += 1;
    const isFaster = measuredMs * fasterFactor < cell.measuredMs;
    const isSlower = measuredMs > fasterFactor * cell.measuredMs;
    // Two calls do not make a mean: a hiccup in the second must not condemn the shape.
    const weight = isSlower ? forgetting : Math.max(isFaster ? fasterWeight : forgetting, 1 / cell.count);
    cell.measuredMs += weight * (Math.min(measuredMs, outlierFactor * cell.measuredMs) - cell.measuredMs);
    cell.features.forEach((value, index) => {
      cell.features[index] = value + weight * (features[index]! - value);
    });
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
    this.fitted = coefficientsFrom(solution);
  }

  private normalEquations(): { matrix: number[][]; target: number[] } {
    const matrix = names.map(() => names.map(() => 0));
    const target = names.map(() => 0);
    for (const { features, measuredMs } of this.cells.values()) {
      const scaled = features.map((value) => value / measuredMs);
      for (let row = 0; row < names.length; row += 1) {
        target[row]! += scaled[row]!;
        for (let column = 0; column < names.length; column += 1) {
          matrix[row]![column]! += scaled[row]! * scaled[column]!;
        }
      }
    }
    return { matrix, target };
  }
}

function featuresOf({ passes, tokens, sampledRows, attendedTokens, leftoverTokens }: TickWork): Features {
  return [passes, tokens, sampledRows, attendedTokens, leftoverTokens];
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
