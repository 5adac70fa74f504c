import type { Sequence } from './sequence.js';
import { extraPasses } from './slot-choice.js';
import type { SlotCosts } from './slot-costs.js';
import type { Slot } from './slot-pool.js';

/** A hole that a new sequence fills within so many ticks is not worth a copy. */
const patienceTicks = 2;
/** A sequence is not counted on to live longer than this, whatever it is allowed. */
const horizonTicks = 64;

/**
 * Closes holes between busy slots: each costs a pass per tick, and a move costs one copy. The top sequence goes to the
 * lowest hole, so repeated moves end with the busy slots dense from 0. One move alone may save nothing (two
 * runs far apart become one only with the last of several), so it is weighed together with those that would
 * follow it.
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
    return movesPay(slots, costs) ? { sequence: owner, toSlot: hole } : null;
  }
}

function canMove(sequence: Sequence, kvTokens: number | null): boolean {
  return sequence.isSettled && sequence.pendingTokens === 1 && kvTokens === sequence.computedTokens;
}

/** Whether the first move, or the first few together, save more passes than their copies cost. */
function movesPay(slots: readonly Slot[], costs: SlotCosts): boolean {
  const busy = slots.map(({ owner }) => owner !== null);
  let savedPasses = 0;
  let remainingTicks = horizonTicks;
  for (let moves = 1; ; moves += 1) {
    const from = busy.lastIndexOf(true);
    const to = busy.indexOf(false);
    if (to > from) return false;
    busy[from] = false;
    savedPasses += extraPasses(busy, from) - extraPasses(busy, to);
    busy[to] = true;
    const { spec, generatedTokens } = slots[from]!.owner!;
    remainingTicks = Math.min(remainingTicks, spec.maxTokens - generatedTokens);
    if (savedPasses * costs.passMs * remainingTicks > moves * costs.copyMs) return true;
  }
}
