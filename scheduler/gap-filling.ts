import type { PaddedRows } from './padded-rows.js';
import type { RowShape } from './pass-count.js';

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
 * @param padded gets these tokens
 * @returns ascending
 */
export function chooseGapSlots(padded: PaddedRows, slotCount: number, priceOf: PriceOf): number[] {
  const gainMs = (slots: readonly number[]) => padded.gainMs(oneEach(slots), priceOfAll(slots, priceOf));
  const chosen: number[] = [];
  const fill = (slots: readonly number[]) => {
    padded.add(oneEach(slots));
    chosen.push(...slots);
  };
  for (const gap of gapsOf(padded.rows)) if (gainMs(gap) > 0) fill(gap);
  const paddings = paddingsOf(padded.rows, slotCount).map((slots) => ({ slots, ms: gainMs(slots) }));
  const best = paddings.reduce((most, each) => (each.ms > most.ms ? each : most), {
    slots: [] as number[],
    ms: 0,
  });
  if (best.slots.length > 0) fill(best.slots);
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

function oneEach(slots: readonly number[]): RowShape[] {
  return slots.map((slot) => ({ slot, tokens: oneToken }));
}
