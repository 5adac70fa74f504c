import type { CostCoefficients } from './cost-model.js';
import type { RowShape } from './pass-count.js';
import { overheadMs, withTokens } from './work-of.js';

/** Tokens that nobody wants are added only where that saves so many times what they cost. */
const worthwhileFactor = 1.5;

/** The rows of a tick, with the tokens that are added to save passes and leftovers (`Passes`). */
export class PaddedRows {
  private readonly batchTokens: number;
  private readonly cost: CostCoefficients;
  private shapes: readonly RowShape[];
  private currentMs: number;
  private room: number;

  /** @param rows ascending by slot */
  constructor(rows: readonly RowShape[], batchTokens: number, cost: CostCoefficients) {
    this.batchTokens = batchTokens;
    this.cost = cost;
    this.shapes = rows;
    this.currentMs = overheadMs(rows, batchTokens, cost);
    this.room = batchTokens - tokensOf(rows);
  }

  /** Ascending by slot. */
  get rows(): readonly RowShape[] {
    return this.shapes;
  }

  /**
   * Milliseconds saved beyond what is asked for; above 0: worthwhile.
   * @param priceMs what these tokens cost; null: they cannot be had
   */
  gainMs(added: readonly RowShape[], priceMs: number | null): number {
    if (priceMs === null || tokensOf(added) > this.room) return 0;
    const paddedMs = overheadMs(withTokens(this.shapes, added), this.batchTokens, this.cost);
    return this.currentMs - paddedMs - worthwhileFactor * priceMs;
  }

  add(added: readonly RowShape[]): void {
    this.shapes = withTokens(this.shapes, added);
    this.currentMs = overheadMs(this.shapes, this.batchTokens, this.cost);
    this.room -= tokensOf(added);
  }
}

function tokensOf(rows: readonly RowShape[]): number {
  return rows.reduce((sum, { tokens }) => sum + tokens.length, 0);
}
