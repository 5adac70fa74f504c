import { tileTokens } from './attention.js';
import type { PaddedRows } from './padded-rows.js';

/** To reach a multiple of four, or the length of a neighbour that is about as long. */
const fewTokens = [1, 2, 3];
/** To complete a tile of attention. */
const mostTokens = 24;
/** The others go without: what there is to gain from each shrinks, what looking costs does not. */
const mostChunks = 8;

/**
 * Tokens to add behind chunks of prompt, because they cost less than what is left over of a multiple of four (`Passes`),
 * or than a pass of its own for a chunk that is a little longer than its neighbour, or because their attention would otherwise
 * be computed token by token.
 * @param padded gets these tokens
 * @param priceOf what so many tokens behind the row of a slot would cost, less than 0 if they save attention; null: there is no
 * room for them
 * @returns tokens by slot, only where there are any
 */
export function chooseTails(
  padded: PaddedRows,
  priceOf: (slot: number, tokens: number) => number | null,
): Map<number, number> {
  const tails = new Map<number, number>();
  for (const { slot, tokens } of padded.rows.filter(({ tokens }) => tokens.length > 1).slice(0, mostChunks)) {
    let best = { length: 0, gainMs: 0 };
    const toTile = tileTokens - tokens.length;
    for (const length of toTile > 0 && toTile <= mostTokens ? [...fewTokens, toTile] : fewTokens) {
      const gainMs = padded.gainMs([{ slot, tokens: { length } }], priceOf(slot, length));
      if (gainMs > best.gainMs) best = { length, gainMs };
    }
    if (best.length === 0) continue;
    tails.set(slot, best.length);
    padded.add([{ slot, tokens: best }]);
  }
  return tails;
}
