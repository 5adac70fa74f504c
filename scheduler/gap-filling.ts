import type { CostCoefficients } from './cost-model.js';
import type { RowShape } from './pass-count.js';
import { overheadMs, withTokens } from './work-of.js';

/** Tokens that nobody wants are added only where that saves so many times what they cost. */
export const worthwhileFactor = 1.5;
/** At the top of the rows, to reach a multiple of four. */
const mostPadding = 3;
/** Fewer rows are one cheap walk each; measured: padding them saves nothing. */
const fewestPaddedRows = 5;

const oneToken = { length: 1 };

/** What a token in a slot without a row would cost; null: that slot cannot take one. */
export type PriceOf = (slot: number) => number | null;

/**
 * Slots without a row that get one token, because it is cheaper than going without: a gap between rows splits the pass
 * that takes a token of each, and rows beyond a multiple of four are slow (`Passes`).
 * @param rows ascending by slot
 * @returns ascending
 */
export function chooseGapSlots(
  rows: readonly RowShape[],
  slotCount: number,
  batchTokens: number,
  cost: CostCoefficients,
  priceOf: PriceOf,
): number[] {
  let filled: readonly RowShape[] = rows;
  let room = batchTokens - rows.reduce((sum, { tokens }) => sum + tokens.length, 0);
  /** Milliseconds saved beyond what is asked for; above 0: worthwhile. */
  const gainMs = (slots: readonly number[]) => {
    const priceMs = priceOfAll(slots, priceOf);
    if (priceMs === null || slots.length > room) return 0;
    const savedMs =
      overheadMs(filled, batchTokens, cost) - overheadMs(withOneEach(filled, slots), batchTokens, cost);
    return savedMs - worthwhileFactor * priceMs;
  };
  const chosen: number[] = [];
  const fill = (slots: readonly number[]) => {
    filled = withOneEach(filled, slots);
    room -= slots.length;
    chosen.push(...slots);
  };
  for (const gap of gapsOf(rows)) if (gainMs(gap) > 0) fill(gap);
  const paddings = paddingsOf(filled, slotCount).map((slots) => ({ slots, ms: gainMs(slots) }));
  const best = paddings.reduce((most, each) => (each.ms > most.ms ? each : most), {
    slots: [] as number[],
    ms: 0,
  });
  fill(best.slots);
  return chosen.sort((left, right) => left - right);
}

function gapsOf(rows: readonly RowShape[]): number[][] {
  return rows
    .slice(1)
    .map(({ slot }, index) => range(rows[index]!.slot + 1, slot))
    .filter(({ length }) => length > 0);
}

/** One or more slots above the top row. */
function paddingsOf(rows: readonly RowShape[], slotCount: number): number[][] {
  if (rows.length < fewestPaddedRows) return [];
  const from = rows.at(-1)!.slot + 1;
  const most = Math.min(mostPadding, slotCount - from);
  return Array.from({ length: most }, (_, index) => range(from, from + index + 1));
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}

function priceOfAll(slots: readonly number[], priceOf: PriceOf): number | null {
  let totalMs = 0;
  for (const slot of slots) {
    const priceMs = priceOf(slot);
    if (priceMs === null) return null;
    totalMs += priceMs;
  }
  return totalMs;
}

function withOneEach(rows: readonly RowShape[], slots: readonly number[]): readonly RowShape[] {
  return withTokens(
    rows,
    slots.map((slot) => ({ slot, tokens: oneToken })),
  );
}
