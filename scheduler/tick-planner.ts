import type { Row, SlotOperation } from './ports.js';
import type { Sequence } from './sequence.js';
import type { Slot } from './slot-pool.js';

/**
 * Gives every decoding sequence its row and spends the rest of the token budget on prefill chunks, oldest start
 * first (stall-free batching of Sarathi-Serve, Agrawal et al., OSDI 2024).
 * @returns tokens per running sequence; sequences without an entry sit this tick out
 */
export function shareTokenBudget(running: readonly Sequence[], batchTokens: number): Map<Sequence, number> {
  const shares = new Map<Sequence, number>();
  const prefilling: Sequence[] = [];
  let remaining = batchTokens;
  for (const sequence of running) {
    if (sequence.pendingTokens > 1) {
      prefilling.push(sequence);
      continue;
    }
    shares.set(sequence, 1);
    remaining -= 1;
  }
  prefilling.sort((left, right) => left.startRank - right.startRank);
  for (const sequence of prefilling) {
    if (remaining <= 0) break;
    const chunk = Math.min(sequence.pendingTokens, remaining);
    shares.set(sequence, chunk);
    remaining -= chunk;
  }
  return shares;
}

/**
 * Rows in slot order, and the operations that first bring each slot to the state its row expects.
 * @param slots ascending
 */
export function layOutRows(
  slots: readonly Slot[],
  shares: ReadonlyMap<Sequence, number>,
): { rows: Row[]; operations: SlotOperation[] } {
  const rows: Row[] = [];
  const operations: SlotOperation[] = [];
  for (const { index, owner, kvTokens } of slots) {
    const share = owner && shares.get(owner);
    if (!owner || !share) continue;
    if (kvTokens !== owner.computedTokens) {
      operations.push({ kind: 'truncate', slot: index, keepTokens: owner.computedTokens });
    }
    rows.push({
      sequenceId: owner.spec.id,
      slot: index,
      firstPosition: owner.computedTokens,
      tokens: owner.nextTokens(share),
      sample: share === owner.pendingTokens,
    });
  }
  return { rows, operations };
}
