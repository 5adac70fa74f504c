import { invariant } from './assert.js';
import type { Sequence } from './sequence.js';

/** A shorter match is not worth leaving the lowest free slot: holes cost passes. */
const minimumReuseTokens = 16;
const noTokens = new Uint32Array(0);

/** One KV lane. While it has an owner, the owner says which tokens it holds. */
export interface Slot {
  readonly index: number;
  owner: Sequence | null;
  /** Tokens whose KV a free slot still holds. */
  cached: Uint32Array;
  /** Positions the engine holds for this slot; null: unknown after a failed decode call. */
  kvTokens: number | null;
}

/** Which slot belongs to whom. Slots are given densely from 0, because a hole between busy slots costs a pass. */
export class SlotPool {
  readonly slots: readonly Slot[];
  private freeSlots: number;

  constructor(slotCount: number) {
    this.slots = Array.from({ length: slotCount }, (_, index) => ({
      index,
      owner: null,
      cached: noTokens,
      kvTokens: 0,
    }));
    this.freeSlots = slotCount;
  }

  get freeCount(): number {
    return this.freeSlots;
  }

  get cachedCount(): number {
    return this.slots.filter((slot) => slot.owner === null && slot.cached.length > 0).length;
  }

  /**
   * Gives the free slot with the longest useful prefix of the prompt, else the lowest free one.
   * At least one prompt token is left to compute, since its logits are needed.
   */
  acquire(sequence: Sequence): { slot: Slot; cachedTokens: number } {
    const { prompt } = sequence.spec;
    let chosen: Slot | null = null;
    let longest = 0;
    for (const slot of this.slots) {
      if (slot.owner !== null) continue;
      const shared = Math.min(commonPrefix(slot.cached, prompt), prompt.length - 1);
      if (chosen === null || (shared >= minimumReuseTokens && shared > longest)) {
        chosen = slot;
        longest = shared;
      }
    }
    invariant(chosen !== null, () => 'acquired a slot when none is free');
    chosen.owner = sequence;
    chosen.cached = noTokens;
    this.freeSlots -= 1;
    return { slot: chosen, cachedTokens: longest };
  }

  /** The owner is done; what it computed stays as cache. */
  release(sequence: Sequence): void {
    const slot = this.slots[sequence.slot!]!;
    invariant(
      slot.owner === sequence,
      () => `sequence ${sequence.spec.id} released slot ${slot.index} of another`,
    );
    slot.owner = null;
    slot.cached = slot.kvTokens === sequence.computedTokens ? sequence.computed() : noTokens;
    this.freeSlots += 1;
  }
}

function commonPrefix(left: Uint32Array, right: Uint32Array): number {
  const limit = Math.min(left.length, right.length);
  let shared = 0;
  while (shared < limit && left[shared] === right[shared]) shared += 1;
  return shared;
}
