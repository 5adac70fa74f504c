import type { CostCoefficients } from './cost-model.js';
import { passesOf, type RowShape } from './pass-count.js';
import type { Filler, Row } from './ports.js';
import type { TickWork } from './tick-work.js';

const oneToken = { length: 1 };

/** @param rows ascending by slot */
export function workOf(rows: readonly Row[], batchTokens: number, fillers: readonly Filler[] = []): TickWork {
  const shapes =
    fillers.length === 0
      ? rows
      : [...rows, ...fillers.map(({ slot }) => ({ slot, tokens: oneToken }))].sort(
          (left, right) => left.slot - right.slot,
        );
  const work = { ...passesOf(shapes, batchTokens), tokens: 0, sampledRows: 0, attendedTokens: 0 };
  for (const { tokens, firstPosition, sample } of rows) {
    work.tokens += tokens.length;
    work.sampledRows += sample ? 1 : 0;
    work.attendedTokens += tokens.length * (firstPosition + (tokens.length + 1) / 2);
  }
  for (const { position } of fillers) {
    work.tokens += 1;
    work.attendedTokens += position + 1;
  }
  return work;
}

/**
 * The part of a call's cost that depends on how its rows lie, in milliseconds.
 * @param rows ascending by slot
 */
export function overheadMs(rows: readonly RowShape[], batchTokens: number, cost: CostCoefficients): number {
  const { passes, leftoverTokens } = passesOf(rows, batchTokens);
  return passes * cost.perPassMs + leftoverTokens * cost.perLeftoverTokenMs;
}
