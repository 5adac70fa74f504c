/** As much of a row as decides about passes. */
export interface RowShape {
  slot: number;
  tokens: { readonly length: number };
}

export interface Passes {
  passes: number;
  /**
   * Tokens beyond a multiple of four, summed over passes of more. ggml multiplies repacked weights (Q4_0, Q4_K, IQ4_NL
   * on a CPU: `forward_mul_mat` in ggml-cpu/repack.cpp) with four tokens in one walk; each one left over is a walk of
   * its own.
   */
  leftoverTokens: number;
}

const tokensPerWalk = 4;

/**
 * The passes over the weights that llama.cpp makes for these rows (`llama_batch_allocr::split_equal`, sequential):
 * a pass takes consecutive slots from the lowest with tokens left, the same number of tokens from each, as many as
 * the shortest has and as fit into the batch size.
 * @param rows ascending by slot
 */
export function passesOf(rows: readonly RowShape[], batchTokens: number): Passes {
  const remaining = rows.map((row) => row.tokens.length);
  let passes = 0;
  let leftoverTokens = 0;
  let lowest = 0;
  for (;;) {
    while (lowest < rows.length && remaining[lowest] === 0) lowest += 1;
    if (lowest === rows.length) return { passes, leftoverTokens };
    let end = lowest + 1;
    let tokensEach = remaining[lowest]!;
    while (end < rows.length && rows[end]!.slot === rows[end - 1]!.slot + 1 && remaining[end]! > 0) {
      tokensEach = Math.min(tokensEach, remaining[end]!);
      end += 1;
    }
    const taken = Math.max(1, Math.min(tokensEach, Math.floor(batchTokens / (end - lowest))));
    for (let index = lowest; index < end; index += 1) remaining[index]! -= taken;
    passes += 1;
    const tokens = taken * (end - lowest);
    if (tokens > tokensPerWalk) leftoverTokens += tokens % tokensPerWalk;
  }
}

/** How many passes: `passesOf`. */
export function countPasses(rows: readonly RowShape[], batchTokens: number): number {
  return passesOf(rows, batchTokens).passes;
}
