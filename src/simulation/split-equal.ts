/**
 * Counts passes as llama.cpp makes them: a transcription of `llama_batch_allocr::split_equal` (sequential, without
 * `n_keep_tail`) of llama.cpp v0.5.0 that works token by token. Slow and literal on purpose; the scheduler has its own
 * arithmetic, and the two must agree.
 */
export function splitEqualPasses(
  rows: readonly { slot: number; tokens: { readonly length: number } }[],
  batchTokens: number,
): number {
  const batch = rows.flatMap(({ slot, tokens }) => new Array<number>(tokens.length).fill(slot));
  const used = new Array<boolean>(batch.length).fill(false);
  let passes = 0;
  while (used.includes(false)) {
    takePass(batch, used, batchTokens);
    passes += 1;
  }
  return passes;
}

/** @param batch the slot of every token, in the order in which the rows were added */
function takePass(batch: readonly number[], used: boolean[], batchTokens: number): void {
  const slots = slotsOfPass(batch, used, batchTokens);
  const unused = slots.map((slot) =>
    batch.flatMap((each, index) => (each === slot && !used[index] ? [index] : [])),
  );
  for (let taken = 0; unused.every((indexes) => indexes.length > taken); taken += 1) {
    if (taken > 0 && (taken + 1) * slots.length > batchTokens) return;
    for (const indexes of unused) used[indexes[taken]!] = true;
  }
}

/** The first slot with tokens left, and those that follow it without a gap. */
function slotsOfPass(batch: readonly number[], used: readonly boolean[], batchTokens: number): number[] {
  const slots: number[] = [];
  for (let index = 0; index < batch.length; index += 1) {
    const slot = batch[index]!;
    if (used[index] || slots.includes(slot)) continue;
    if (slots.length > 0 && slot !== slots.at(-1)! + 1) continue;
    slots.push(slot);
    if (slots.length > batchTokens) break;
  }
  return slots;
}
