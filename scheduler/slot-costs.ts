import { chunkMs } from './attention.js';
import type { CostCoefficients } from './cost-model.js';
import type { OperationCosts } from './operation-costs.js';
import type { SlotOperation, TickPlan } from './ports.js';
import type { TickCosts } from './tick-costs.js';

const typicalChunkTokens = 128;
/** A model that is off by more has seen too little, or a machine too busy, to go by. */
const highestError = 0.5;
/** Weight of a new measurement of a copy. */
const copyWeight = 0.1;
const fileWeight = 0.3;
const fileFading = 0.005;
/** One save that the machine held up is no trend. */
const fileOutlierFactor = 4;
const lowestFileFactor = 0.2;
const highestFileFactor = 100;

/** What bringing a prefix into a slot costs, in one currency: milliseconds of the engine. */
export class SlotCosts {
  private readonly ticks: TickCosts;
  private readonly operations: OperationCosts;
  private learnedCopyMs: number;
  /** Measured over expected time of files: memory that must first be found makes them many times slower. */
  private fileFactor = 1;

  constructor(ticks: TickCosts, operations: OperationCosts) {
    this.ticks = ticks;
    this.operations = operations;
    this.learnedCopyMs = operations.copyMs;
  }

  get passMs(): number {
    return this.coefficients.perPassMs;
  }

  get copyMs(): number {
    return this.learnedCopyMs;
  }

  prefillMs(tokens: number, firstPosition: number): number {
    return chunkMs(this.coefficients, tokens, firstPosition);
  }

  saveMs(tokens: number): number {
    return this.fileFactor * (this.operations.fileMs + this.operations.saveMsPerToken * tokens);
  }

  restoreMs(tokens: number): number {
    return this.fileFactor * (this.operations.fileMs + this.operations.restoreMsPerToken * tokens);
  }

  /** Of the number of threads that is fastest for a chunk of prompt, among those whose costs are known well enough. */
  private get coefficients(): CostCoefficients {
    const choices = this.ticks.summary();
    const known = choices.filter(({ relativeError }) => relativeError < highestError);
    const candidates = (known.length > 0 ? known : choices).map(({ coefficients }) => coefficients);
    return candidates.reduce((best, each) => (typicalChunkMs(each) < typicalChunkMs(best) ? each : best));
  }

  /** @param fileMs of all saves and restores together; undefined: not measured */
  observeOperations(operations: readonly SlotOperation[], fileMs: number | undefined): void {
    if (fileMs === undefined) return;
    let expectedMs = 0;
    for (const operation of operations) {
      if (operation.kind === 'save') expectedMs += this.saveMs(operation.tokens.length);
      else if (operation.kind === 'restore') expectedMs += this.restoreMs(operation.keepTokens);
    }
    if (expectedMs > 0) this.observeFiles(expectedMs, fileMs);
    else this.forgetFiles();
  }

  /** What the decode call took; with copies in it, it says what these cost. */
  observeCall({ operations, work, threads }: TickPlan, decodeMs: number): void {
    const copies = operations.filter(({ kind }) => kind === 'copy').length;
    if (copies > 0) this.observeCopies(copies, decodeMs - this.ticks.predictMs(work));
    else this.ticks.observe(work, threads, decodeMs);
  }

  /** Saves and restores that were expected to take `expectedMs`, by the current factor, took this long. */
  observeFiles(expectedMs: number, measuredMs: number): void {
    const factor = this.fileFactor * Math.min(fileOutlierFactor, measuredMs / expectedMs);
    const bounded = Math.min(highestFileFactor, Math.max(lowestFileFactor, factor));
    this.fileFactor += fileWeight * (bounded - this.fileFactor);
  }

  /** A tick without files: what was learnt fades, or expensive files would never be tried again. */
  forgetFiles(): void {
    this.fileFactor += fileFading * (1 - this.fileFactor);
  }

  /** A decode call with copies took this much longer than one without. */
  private observeCopies(copies: number, extraMs: number): void {
    this.learnedCopyMs += copyWeight * (Math.max(0, extraMs) / copies - this.learnedCopyMs);
  }
}

function typicalChunkMs(cost: CostCoefficients): number {
  return cost.perPassMs + chunkMs(cost, typicalChunkTokens, typicalChunkTokens);
}
