/**
 * Counts passes as llama.cpp makes them: a transcription of `llama_batch_allocr::split_equal` (sequential, without
 * `n_keep_tail`) of llama.cpp v0.5.0 that works token by token. Literal on purpose; the scheduler has its own
 * arithmetic, and the two must agree.
 */
export function splitEqualPasses(
  rows: readonly { slot: number; tokens: { readonly length: number } }[],
  batchTokens: number,
): number {
  const unused = rows.map(({ tokens }) => tokens.length);
  const slots = rows.map(({ slot }) => slot);
  let passes = 0;
  for (let riders = ridersOfPass(slots, unused, batchTokens); riders.length > 0; passes += 1) {
    takePass(riders, unused, batchTokens);
    riders = ridersOfPass(slots, unused, batchTokens);
  }
  return passes;
}

/** The first row with tokens left, and those whose slots follow it without a gap. */
function ridersOfPass(slots: readonly number[], unused: readonly number[], batchTokens: number): number[] {
  const riders: number[] = [];
  let next = -1;
  for (let row = 0; row < slots.length && riders.length <= batchTokens; row += 1) {
    if (unused[row] === 0 || (riders.length > 0 && slots[row] !== next)) continue;
    riders.push(row);
    next = slots[row]! + 1;
  }
  return riders;
}

function takePass(riders: readonly number[], unused: number[], batchTokens: number): void {
  let taken = 0;
  let isEmpty = false;
  while (!isEmpty && (taken === 0 || (taken + 1) * riders.length <= batchTokens)) {
    for (const row of riders) {
      unused[row]! -= 1;
      if (unused[row] === 0) isEmpty = true;
    }
    taken += 1;
  }
}
