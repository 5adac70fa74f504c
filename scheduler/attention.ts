import type { CostCoefficients } from './cost-model.js';

/** llama.cpp's flash attention on a CPU takes so many tokens of a row at once (`GGML_FA_TILE_Q`), fewer one by one. */
export const tileTokens = 64;
/** What one of them costs then, in times of what it costs by itself: measured 0.29 to 0.43 on an EPYC with AVX-512. */
export const tiledShare = 0.35;

/** Pairs of a token of the chunk and a position that it attends to. */
export function pairsOf(tokens: number, firstPosition: number): number {
  return tokens * (firstPosition + (tokens + 1) / 2);
}

/** What the attention of a chunk costs, in pairs that are computed token by token. */
export function attendedBy(tokens: number, firstPosition: number): number {
  return (tokens < tileTokens ? 1 : tiledShare) * pairsOf(tokens, firstPosition);
}

/** Milliseconds of a chunk without its pass. */
export function chunkMs(
  { perTokenMs, perAttendedTokenMs }: CostCoefficients,
  tokens: number,
  firstPosition: number,
): number {
  return perTokenMs * tokens + perAttendedTokenMs * attendedBy(tokens, firstPosition);
}

/** The longest chunk that takes no longer, its pass included. */
export function tokensWithin(
  availableMs: number,
  { cost, firstPosition }: { cost: CostCoefficients; firstPosition: number },
): number {
  const leftMs = Math.max(0, availableMs - cost.perPassMs);
  const tokensAt = (share: number) =>
    Math.floor(leftMs / (cost.perTokenMs + share * cost.perAttendedTokenMs * firstPosition));
  const tiled = tokensAt(tiledShare);
  return tiled >= tileTokens ? tiled : Math.min(tileTokens - 1, tokensAt(1));
}
