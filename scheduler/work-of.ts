import { attendedBy } from './attention.js';
import type { CostCoefficients } from './cost-model.js';
import { passesOf, type RowShape } from './pass-count.js';
import type { Filler, Row } from './ports.js';
import type { TickWork } from './tick-work.js';

/** @param rows ascending by slot */
export function workOf(rows: readonly Row[], batchTokens: number, fillers: readonly Filler[] = []): TickWork {
  const added = fillers.map(({ slot, tokens }) => ({ slot, tokens: { length: tokens } }));
  const chunks = withTokens(rows, added);
  const firstPositions = new Map<number, number>();
  for (const { slot, position } of fillers) firstPositions.set(slot, position);
  // Fillers of a slot that has a row follow it.
  for (const { slot, firstPosition } of rows) firstPositions.set(slot, firstPosition);
  const work = { ...passesOf(chunks, batchTokens), tokens: 0, sampledRows: 0, attendedTokens: 0 };
  for (const { slot, tokens } of chunks) {
    work.tokens += tokens.length;
    work.attendedTokens += attendedBy(tokens.length, firstPositions.get(slot)!);
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
