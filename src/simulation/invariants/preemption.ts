import { classRank, type SchedulerEvent } from '../../../scheduler/index.js';
import { maxPreemptionsPerTick } from '../../../scheduler/preemption.js';
import type { LedgerEntry } from '../ledger.js';
import { require } from '../violation.js';
import type { Invariant, World } from './invariant.js';

/** `preempts-lower-class`: only for one of a higher class, of the highest that waits, which gets the slot at once. */
export class PreemptsLowerClass implements Invariant {
  private readonly world: World;
  private due: { sequenceId: number; slot: number } | null = null;

  constructor(world: World) {
    this.world = world;
  }

  event(event: SchedulerEvent): void {
    const { entries, waiting } = this.world.ledger;
    const entry = entries.get(event.sequenceId)!;
    if (this.due) {
      const { sequenceId, slot } = this.due;
      const isTaken = (event.type === 'started' || event.type === 'resumed') && event.slot === slot;
      require(isTaken && event.sequenceId === sequenceId, 'preempts-lower-class', () =>
        `slot ${slot} was taken for ${sequenceId}, but ${event.sequenceId} ${event.type} next`);
      this.due = null;
    }
    if (event.type !== 'preempted') return;
    const preemptor = entries.get(event.forSequenceId)!;
    require(preemptor.state === 'waiting' &&
      classRank(preemptor.spec) < classRank(entry.spec), 'preempts-lower-class', () =>
      `${describe(entry)} made room for ${describe(preemptor)}`);
    const isHighest = [...waiting].every(({ spec }) => classRank(spec) >= classRank(preemptor.spec));
    require(isHighest, 'preempts-lower-class', () =>
      `${describe(preemptor)} displaces another, but a higher class waits`);
    this.due = { sequenceId: event.forSequenceId, slot: entry.slot };
  }

  planned(): void {
    require(this.due === null, 'preempts-lower-class', () => `slot ${this.due?.slot} was taken for nobody`);
  }
}

/**
 * `preemptions-bounded`: a few per tick; and whoever was preempted n times has delivered 8 * 2^(n-1) tokens more before
 * the next time.
 */
export class PreemptionsBounded implements Invariant {
  private readonly world: World;
  private readonly stays = new Map<number, { count: number; untilTokens: number }>();
  private inTick = 0;

  constructor(world: World) {
    this.world = world;
  }

  event(event: SchedulerEvent): void {
    if (event.type !== 'preempted') return;
    this.inTick += 1;
    const { delivered } = this.world.ledger.entries.get(event.sequenceId)!;
    const { count, untilTokens } = this.stays.get(event.sequenceId) ?? { count: 0, untilTokens: 0 };
    require(delivered >= untilTokens && this.inTick <= maxPreemptionsPerTick, 'preemptions-bounded', () =>
      `sequence ${event.sequenceId}: preemption ${count + 1} after ${delivered} tokens, ${this.inTick} in this tick`);
    this.stays.set(event.sequenceId, { count: count + 1, untilTokens: delivered + 8 * 2 ** count });
  }

  planned(): void {
    this.inTick = 0;
  }
}

/** How often a sequence that was preempted so often can be preempted yet, whatever happens. */
export function mostPreemptions({ spec, delivered }: LedgerEntry): number {
  return Math.ceil(Math.log2((spec.maxTokens - delivered) / 8 + 1)) + 1;
}

function describe({ spec, state }: LedgerEntry): string {
  return `${spec.id} (${spec.priorityClass}, ${state})`;
}
