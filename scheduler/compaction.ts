import type { Sequence } from './sequence.js';
import type { SlotCosts } from './slot-costs.js';
import type { Slot } from './slot-pool.js';

/** A hole that a new sequence fills within so many ticks is not worth a copy. */
const patienceTicks = 2;
/** A sequence is not counted on to live longer than this, whatever it is allowed. */
const horizonTicks = 64;

/**
 * Closes holes between busy slots: each costs a pass per tick, and a move costs one copy. The top sequence goes to the
 * lowest hole, so repeated moves end with the busy slots dense from 0.
 */
export class Compaction {
  private ticksWithHole = 0;

  /** @returns the move to make before this tick's rows are laid out, if one pays */
  choose(slots: readonly Slot[], costs: SlotCosts): { sequence: Sequence; toSlot: number } | null {
    const hole = slots.findIndex((slot) => slot.owner === null);
    const top = slots.findLastIndex((slot) => slot.owner !== null);
    if (hole === -1 || hole > top) {
      this.ticksWithHole = 0;
      return null;
    }
    this.ticksWithHole += 1;
    const { owner, kvTokens } = slots[top]!;
    if (this.ticksWithHole <= patienceTicks || !owner || !canMove(owner, kvTokens)) return null;
    const savedPasses = runsOf(slots) - runsOf(slots, { from: top, to: hole });
    const remainingTicks = Math.min(horizonTicks, owner.spec.maxTokens - owner.generatedTokens);
    if (savedPasses * costs.passMs * remainingTicks <= costs.copyMs) return null;
    return { sequence: owner, toSlot: hole };
  }
}

function canMove(sequence: Sequence, kvTokens: number | null): boolean {
  return sequence.isSettled && sequence.pendingTokens === 1 && kvTokens === sequence.computedTokens;
}

/** Runs of neighbouring busy slots, each a pass of its own; as if a move had been made. */
function runsOf(slots: readonly Slot[], move?: { from: number; to: number }): number {
  const isBusy = (index: number) =>
    index === move?.to || (index !== move?.from && index >= 0 && slots[index]!.owner !== null);
  return slots.filter((_, index) => isBusy(index) && !isBusy(index - 1)).length;
}
