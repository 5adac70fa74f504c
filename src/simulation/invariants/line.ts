import {
  type PriorityClass,
  priorityClasses,
  type Rejection,
  type SchedulerEvent,
  type SchedulerStats,
  type SequenceSpec,
} from '../../../scheduler/index.js';
import { classAgingMs } from '../../../scheduler/waiting-queue.js';
import type { LedgerEntry } from '../ledger.js';
import { require } from '../violation.js';
import type { Invariant, World } from './invariant.js';

/** How full a class may make the line. */
const shares = { interactive: 1, standard: 0.9, batch: 0.5 };

/** `queue-bounds`: who is refused has to be, nobody else is, and the line's counts are true and within the limits. */
export class QueueBounds implements Invariant {
  private readonly world: World;

  constructor(world: World) {
    this.world = world;
  }

  submitted(specs: readonly SequenceSpec[], rejection: Rejection | null, before: SchedulerStats): void {
    const due = this.dueRejection(specs, before);
    const given = rejection?.reason ?? null;
    require(given === due, 'queue-bounds', () =>
      `refused for ${given}, due was ${due}; ${before.waiting} waited with ${before.waitingTokens} tokens`);
  }

  planned(): void {
    this.checkCounts();
    const { waiting, waitingTokens } = this.world.stats;
    const { maxWaiting, maxWaitingTokens } = this.world.scenario.config;
    require(waiting <= maxWaiting, 'queue-bounds', () => `${waiting} wait, the limit is ${maxWaiting}`);
    require(waitingTokens <= maxWaitingTokens, 'queue-bounds', () =>
      `${waitingTokens} tokens wait, the limit is ${maxWaitingTokens}`);
  }

  applied(): void {
    this.checkCounts();
  }

  private dueRejection(specs: readonly SequenceSpec[], before: SchedulerStats): Rejection['reason'] | null {
    const { slotCount, contextTokens, ...line } = this.world.scenario.config;
    const share = shares[specs[0]?.priorityClass ?? 'interactive'];
    const maxWaiting = Math.ceil(share * line.maxWaiting);
    const fullTokens = line.maxWaitingTokens;
    const maxWaitingTokens = Math.min(fullTokens, Math.max(share * fullTokens, contextTokens));
    if (specs.some((spec) => spec.prompt.length + spec.maxTokens > contextTokens)) return 'window';
    const free = before.cachedSlots + before.emptySlots;
    const waiting = before.waiting + specs.length;
    const promptTokens = specs.reduce((sum, spec) => sum + spec.prompt.length, 0);
    const isFull = waiting - free > maxWaiting;
    const hasTooManyTokens = waiting > free && promptTokens + before.waitingTokens > maxWaitingTokens;
    if (!isFull && !hasTooManyTokens) return null;
    const isTooMany = specs.length - slotCount > maxWaiting;
    if (isTooMany || (specs.length > slotCount && promptTokens > maxWaitingTokens)) return 'never';
    return isFull ? 'waiting' : 'waiting-tokens';
  }

  private checkCounts(): void {
    const { stats, ledger } = this.world;
    let tokens = 0;
    const byClass: Record<string, number> = {};
    for (const { spec, startRank } of ledger.waiting) {
      if (startRank < 0) tokens += spec.prompt.length;
      byClass[spec.priorityClass] = (byClass[spec.priorityClass] ?? 0) + 1;
    }
    require(stats.waiting === ledger.waiting.size, 'queue-bounds', () =>
      `${stats.waiting} wait, by events ${ledger.waiting.size}`);
    require(stats.waitingTokens === tokens, 'queue-bounds', () =>
      `${stats.waitingTokens} tokens wait, by events ${tokens}`);
    for (const name of priorityClasses) {
      require(stats.waitingByClass[name] === (byClass[name] ?? 0), 'queue-bounds', () =>
        `${stats.waitingByClass[name]} wait in ${name}, by events ${byClass[name] ?? 0}`);
    }
  }
}

/**
 * `line-order`: a tenant's own requests of a class start in order of arrival; a lower class goes first only when its
 * oldest request is older by the aging, unless it displaces one of a lower class; of tenants that had nothing
 * yet, the one that asked first goes first.
 * `work-conserving`: nobody waits while a slot is free.
 */
export class LineOrder implements Invariant {
  private readonly world: World;
  private readonly servedTenants = new Set<string>();
  private preemptor = -1;

  constructor(world: World) {
    this.world = world;
  }

  event(event: SchedulerEvent): void {
    if (event.type === 'preempted') this.preemptor = event.forSequenceId;
    if (event.type !== 'started' && event.type !== 'resumed') return;
    const { ledger } = this.world;
    const starting = ledger.entries.get(event.sequenceId)!;
    if (this.preemptor === event.sequenceId) this.preemptor = -1;
    else this.checkClass(starting);
    const key = accountOf(starting);
    for (const other of ledger.waiting) {
      if (other === starting || other.spec.priorityClass !== starting.spec.priorityClass) continue;
      if (other.spec.id > starting.spec.id) continue;
      const otherKey = accountOf(other);
      require(otherKey !== key, 'line-order', () =>
        `${starting.spec.id} overtook ${other.spec.id} of the same tenant`);
      const bothNew = !this.servedTenants.has(key) && !this.servedTenants.has(otherKey);
      require(!bothNew, 'line-order', () =>
        `${starting.spec.id} overtook ${other.spec.id}; both tenants are new`);
    }
    this.servedTenants.add(key);
  }

  planned(): void {
    const { ledger } = this.world;
    const { cachedSlots, emptySlots } = this.world.stats;
    const free = cachedSlots + emptySlots;
    require(free === 0 || ledger.waiting.size === 0, 'work-conserving', () =>
      `${ledger.waiting.size} wait while ${free} slots are free`);
  }

  private checkClass(starting: LedgerEntry): void {
    const dueMs = new Map<PriorityClass, number>();
    for (const { spec, arrivalMs } of this.world.ledger.waiting) {
      const rank = priorityClasses.indexOf(spec.priorityClass);
      const agedMs = arrivalMs + rank * classAgingMs;
      dueMs.set(spec.priorityClass, Math.min(agedMs, dueMs.get(spec.priorityClass) ?? agedMs));
    }
    const ownDueMs = dueMs.get(starting.spec.priorityClass)!;
    for (const [name, otherDueMs] of dueMs) {
      require(ownDueMs <= otherDueMs, 'line-order', () =>
        `${starting.spec.priorityClass} went before ${name}`);
    }
  }
}

function accountOf({ spec }: LedgerEntry): string {
  return `${spec.priorityClass}/${spec.tenant}`;
}
