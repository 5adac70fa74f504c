import type { TickCosts } from './tick-costs.js';

/** Milliseconds of slot operations, as measured on the machine that does them. */
export interface OperationCosts {
  /** A copy moves the whole lane, whatever it holds, during the next decode call. */
  copyMs: number;
  /** Per save or restore, whatever its size. */
  fileMs: number;
  saveMsPerToken: number;
  restoreMsPerToken: number;
}

/** SmolLM2-135M with a window of 2,048 tokens and files in memory, on two cores. */
export const defaultOperationCosts: OperationCosts = {
  copyMs: 8,
  fileMs: 1,
  saveMsPerToken: 0.012,
  restoreMsPerToken: 0.008,
};

/** Weight of a new measurement of a copy. */
const copyWeight = 0.1;

/** What bringing a prefix into a slot costs, in one currency: milliseconds of the engine. */
export class SlotCosts {
  private readonly ticks: TickCosts;
  private readonly operations: OperationCosts;
  private learnedCopyMs: number;

  constructor(ticks: TickCosts, operations: OperationCosts) {
    this.ticks = ticks;
    this.operations = operations;
    this.learnedCopyMs = operations.copyMs;
  }

  get passMs(): number {
    return this.ticks.predictMs({ passes: 1, tokens: 0, sampledRows: 0, attendedTokens: 0 });
  }

  get copyMs(): number {
    return this.learnedCopyMs;
  }

  prefillMs(tokens: number, firstPosition: number): number {
    const attendedTokens = tokens * (firstPosition + (tokens + 1) / 2);
    return this.ticks.predictMs({ passes: 0, tokens, sampledRows: 0, attendedTokens });
  }

  saveMs(tokens: number): number {
    return this.operations.fileMs + this.operations.saveMsPerToken * tokens;
  }

  restoreMs(tokens: number): number {
    return this.operations.fileMs + this.operations.restoreMsPerToken * tokens;
  }

  /** A decode call with copies took this much longer than one without. */
  observeCopies(copies: number, extraMs: number): void {
    this.learnedCopyMs += copyWeight * (Math.max(0, extraMs) / copies - this.learnedCopyMs);
  }
}
