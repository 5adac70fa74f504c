import type { OperationCosts } from './operation-costs.js';
import type { TickCosts } from './tick-costs.js';

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
