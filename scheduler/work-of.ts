import { attendedBy } from './attention.js';
import type { CostCoefficients } from './cost-model.js';
import { passesOf, type RowShape } from './pass-count.js';
import type { Filler, Row } from './ports.js';
import type { TickWork } from './tick-work.js';

/** @param rows ascending by slot */
export function workOf(rows: readonly Row[], batchTokens: number, fillers: readonly Filler[] = []): TickWork {
  const shapes = withTokens(
    rows,
    fillers.map(({ slot, tokens }) => ({ slot, tokens: { length: tokens } })),
  );
  const work = { ...passesOf(shapes, batchTokens), tokens: 0, sampledRows: 0, attendedTokens: 0 };
  for (const { tokens, firstPosition, sample } of rows) {
    work.tokens += tokens.length;
    work.sampledRows += sample ? 1 : 0;
    work.attendedTokens += attendedBy(tokens.length, firstPosition);
  }
  for (const { position, tokens } of fillers) {
    work.tokens += tokens;
    work.attendedTokens += attendedBy(tokens, position);
  }
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
