import type { CostCoefficients } from './cost-model.js';
import { worthwhileFactor } from './gap-filling.js';
import type { RowShape } from './pass-count.js';
import { overheadMs, withTokens } from './work-of.js';

/** To reach a multiple of four, or the length of a neighbour that is about as long. */
const mostTokens = 3;
/** The others go without: what there is to gain from each shrinks, what looking costs does not. */
const mostChunks = 8;

/**
 * Tokens to add behind chunks of prompt, because they cost less than what is left over of a multiple of four (`Passes`),
 * or than a pass of its own for a chunk that is a little longer than its neighbour.
 * @param rows ascending by slot
 * @param priceOf what so many tokens behind the row of a slot would cost; null: there is no room for them
 * @returns tokens by slot, only where there are any
 */
export function chooseTails(
  rows: readonly RowShape[],
  batchTokens: number,
  cost: CostCoefficients,
  priceOf: (slot: number, tokens: number) => number | null,
): Map<number, number> {
  const tails = new Map<number, number>();
  let padded = rows;
  let room = batchTokens - rows.reduce((sum, { tokens }) => sum + tokens.length, 0);
  for (const { slot } of rows.filter(({ tokens }) => tokens.length > 1).slice(0, mostChunks)) {
    const withoutMs = overheadMs(padded, batchTokens, cost);
    let best = { tokens: 0, gainMs: 0, rows: padded };
    for (let tokens = 1; tokens <= Math.min(mostTokens, room); tokens += 1) {
      const priceMs = priceOf(slot, tokens);
      if (priceMs === null) break;
      const tried = withTokens(padded, [{ slot, tokens: { length: tokens } }]);
      const gainMs = withoutMs - overheadMs(tried, batchTokens, cost) - worthwhileFactor * priceMs;
      if (gainMs > best.gainMs) best = { tokens, gainMs, rows: tried };
    }
    if (best.tokens === 0) continue;
    tails.set(slot, best.tokens);
    padded = best.rows;
    room -= best.tokens;
  }
  return tails;
}
