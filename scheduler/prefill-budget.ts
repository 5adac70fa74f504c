import { chunkMs, tileTokens, tokensWithin } from './attention.js';
import type { CostCoefficients } from './cost-model.js';

/** Share of the target that is planned for; the rest absorbs prediction error and sampling. */
export const plannedShare = 0.9;
/** Fewer prompt tokens than this are not worth the pass they cost. */
export const minimumChunkTokens = 32;
/** Deep in a prompt a whole tile takes little longer than half of one: then it is the least that is worth it. */
const tileWorthTimes = 1.5;
/** Of the decode time, what prefill is owed per tick even when the target leaves nothing. */
const minimumPrefillShare = 0.25;

export interface PrefillDemand {
  /** Milliseconds that must not be exceeded between two tokens of a running sequence; 0: throughput first. */
  itlTargetMs: number;
  /** Predicted milliseconds of the decode rows alone; 0 when nobody decodes. */
  decodeMs: number;
  cost: CostCoefficients;
  /** Position of the first token of the most urgent chunk: attention to everything before it is part of its cost. */
  firstPosition: number;
  /** Prompt tokens that wait to be computed. */
  pendingTokens: number;
}

/**
 * How many prompt tokens a tick may compute next to its decode rows. What does not fit under the target is owed:
 * the debt grows until it buys a useful chunk, so prefill is slowed by decoding but never starved.
 */
export class PrefillBudget {
  private owedMs = 0;

  /** @param freeTokens room left in the batch */
  grant(demand: PrefillDemand, freeTokens: number): number {
    const { itlTargetMs, decodeMs, pendingTokens } = demand;
    if (pendingTokens === 0) return 0;
    if (decodeMs === 0 || itlTargetMs === 0) return this.settle(freeTokens);
    const usefulTokens = Math.min(usefulChunkTokens(demand), pendingTokens, freeTokens);
    const leftMs = leftUnderTarget(demand);
    const affordable = tokensWithin(leftMs, demand);
    if (affordable >= usefulTokens) return this.settle(Math.min(affordable, freeTokens));
    this.owedMs += Math.max(leftMs, minimumPrefillShare * decodeMs);
    return tokensWithin(this.owedMs, demand) >= usefulTokens ? this.settle(usefulTokens) : 0;
  }

  /** For ticks that nobody reads along with: what fits into so much time, and always a useful chunk. */
  grantWithin(limitMs: number, demand: PrefillDemand, freeTokens: number): number {
    const affordable = tokensWithin(limitMs, demand);
    return this.settle(Math.min(Math.max(usefulChunkTokens(demand), affordable), freeTokens));
  }

  private settle(tokens: number): number {
    this.owedMs = 0;
    return tokens;
  }
}

/** Prompt tokens that fit under the target next to the decode rows. */
export function affordableTokens(demand: PrefillDemand): number {
  return tokensWithin(leftUnderTarget(demand), demand);
}

function leftUnderTarget({ itlTargetMs, decodeMs }: PrefillDemand): number {
  return plannedShare * itlTargetMs - decodeMs;
}

/** The least that a call of prefill computes, unless less is left. */
export function usefulChunkTokens({
  cost,
  firstPosition,
}: Pick<PrefillDemand, 'cost' | 'firstPosition'>): number {
  const callMs = (tokens: number) => cost.perPassMs + chunkMs(cost, tokens, firstPosition);
  return callMs(tileTokens) <= tileWorthTimes * callMs(minimumChunkTokens) ? tileTokens : minimumChunkTokens;
}
