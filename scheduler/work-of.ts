import { attendedBy } from './attention.js';
import type { CostCoefficients } from './cost-model.js';
import { passesOf, type RowShape } from './pass-count.js';
import type { Filler, Row } from './ports.js';
import type { TickWork } from './tick-work.js';

/** What a call computes in one slot. */
export interface Chunk extends RowShape {
  firstPosition: number;
}

/** Rows with the fillers that follow them, and fillers of other slots, ascending by slot. @param rows ascending by slot */
export function chunksOf(rows: readonly Row[], fillers: readonly Filler[] = []): readonly Chunk[] {
  if (fillers.length === 0) return rows;
  const firstPositions = new Map(fillers.map(({ slot, position }) => [slot, position]));
  for (const { slot, firstPosition } of rows) firstPositions.set(slot, firstPosition);
  const added = fillers.map(({ slot, tokens }) => ({ slot, tokens: { length: tokens } }));
  return withTokens(rows, added).map((shape) => ({
    ...shape,
    firstPosition: firstPositions.get(shape.slot)!,
  }));
}

/** @param rows ascending by slot */
export function workOf(rows: readonly Row[], batchTokens: number, fillers: readonly Filler[] = []): TickWork {
  const chunks = chunksOf(rows, fillers);
  const work = { ...passesOf(chunks, batchTokens), tokens: 0, sampledRows: 0, attendedTokens: 0 };
  for (const { tokens, firstPosition } of chunks) {
    work.tokens += tokens.length;
    work.attendedTokens += attendedBy(tokens.length, firstPosition);
  }
  for (const { sample } of rows) work.sampledRows += sample ? 1 : 0;
  return work;
}

/**
 * What the batch holds of each slot when `added` follow the rows.
 * @param rows ascending by slot, as is the result
 */
export function withTokens(rows: readonly RowShape[], added: readonly RowShape[]): readonly RowShape[] {
  if (added.length === 0) return rows;
  const lengths = new Map(rows.map(({ slot, tokens }) => [slot, tokens.length]));
  for (const { slot, tokens } of added) lengths.set(slot, (lengths.get(slot) ?? 0) + tokens.length);
  return [...lengths]
    .map(([slot, length]) => ({ slot, tokens: { length } }))
    .sort((left, right) => left.slot - right.slot);
}

/**
 * The part of a call's cost that depends on how its rows lie, in milliseconds.
 * @param rows ascending by slot
 */
export function overheadMs(rows: readonly RowShape[], batchTokens: number, cost: CostCoefficients): number {
  const { passes, leftoverTokens } = passesOf(rows, batchTokens);
  return passes * cost.perPassMs + leftoverTokens * cost.perLeftoverTokenMs;
}
