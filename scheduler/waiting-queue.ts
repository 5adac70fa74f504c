import { FairShare } from './fair-share.js';
import type { Sequence } from './sequence.js';
import { type PriorityClass, priorityClasses } from './sequence-spec.js';

/** A sequence of a lower class that has waited this much longer than one of the next higher class goes first. */
export const classAgingMs = 30_000;
const maxAccountsPerClass = 10_000;

/**
 * The highest class that waits, unless the oldest of a lower one has waited `classAgingMs` longer per class.
 * @param oldestMs when the oldest of a class came; undefined: none waits
 * @returns null: nobody waits
 */
export function nextClass(oldestMs: (name: PriorityClass) => number | undefined): PriorityClass | null {
  let next: PriorityClass | null = null;
  let earliestMs = Number.POSITIVE_INFINITY;
  priorityClasses.forEach((name, rank) => {
    const agedMs = (oldestMs(name) ?? Number.POSITIVE_INFINITY) + rank * classAgingMs;
    if (agedMs >= earliestMs) return;
    earliestMs = agedMs;
    next = name;
  });
  return next;
}

/** Sequences of one tenant in order of arrival. */
class TenantLine {
  /** Preempted. All of them came before those that never had a slot, and they are few. */
  private readonly returned: Sequence[] = [];
  private readonly fresh = new Map<number, Sequence>();

  get size(): number {
    return this.returned.length + this.fresh.size;
  }

  get head(): Sequence {
    return this.returned[0] ?? this.fresh.values().next().value!;
  }

  add(sequence: Sequence): void {
    if (sequence.hasStarted) {
      this.returned.push(sequence);
      this.returned.sort(byArrival);
    } else this.fresh.set(sequence.spec.id, sequence);
  }

  delete(sequence: Sequence): boolean {
    const index = this.returned.indexOf(sequence);
    if (index >= 0) this.returned.splice(index, 1);
    return index >= 0 || this.fresh.delete(sequence.spec.id);
  }

  *all(): Generator<Sequence> {
    yield* this.returned;
    yield* this.fresh.values();
  }
}

class ClassQueue {
  readonly fairShare = new FairShare(maxAccountsPerClass);
  readonly lines = new Map<string, TenantLine>();
  count = 0;

  add(sequence: Sequence): void {
    const { tenant } = sequence.spec;
    this.fairShare.join(tenant);
    const line = this.lines.get(tenant) ?? new TenantLine();
    this.lines.set(tenant, line);
    line.add(sequence);
    this.count += 1;
  }

  remove(sequence: Sequence): boolean {
    const { tenant } = sequence.spec;
    const line = this.lines.get(tenant);
    if (!line?.delete(sequence)) return false;
    if (line.size === 0) this.lines.delete(tenant);
    this.fairShare.leave(tenant);
    this.count -= 1;
    return true;
  }

  /** Tenants take turns: of every other one as many go first as this one will have waiting. */
  aheadOf(tenant: string): number {
    const own = this.lines.get(tenant)?.size ?? 0;
    let ahead = own;
    for (const [name, { size }] of this.lines) if (name !== tenant) ahead += Math.min(size, own + 1);
    return ahead;
  }

  /** The head of the least served tenant's line, and when the oldest head arrived. */
  next(): { sequence: Sequence; oldestArrivalMs: number } | null {
    let chosen: Sequence | null = null;
    let leastServed = Number.POSITIVE_INFINITY;
    let oldestArrivalMs = Number.POSITIVE_INFINITY;
    for (const [tenant, line] of this.lines) {
      const { head } = line;
      oldestArrivalMs = Math.min(oldestArrivalMs, head.arrivalMs);
      const served = this.fairShare.served(tenant);
      if (served < leastServed || (served === leastServed && head.spec.id < chosen!.spec.id)) {
        leastServed = served;
        chosen = head;
      }
    }
    return chosen && { sequence: chosen, oldestArrivalMs };
  }
}

function byArrival(left: Sequence, right: Sequence): number {
  return left.arrivalMs - right.arrivalMs || left.spec.id - right.spec.id;
}

/**
 * The line for slots: by class with aging, inside a class the least served tenant, inside a tenant FIFO.
 * Its bounds are kept by admission; a preempted sequence changes places with the one it made room for, and its tokens,
 * admitted once, do not count again.
 */
export class WaitingQueue {
  private readonly classes = new Map<PriorityClass, ClassQueue>(
    priorityClasses.map((name) => [name, new ClassQueue()]),
  );
  private earliestDeadlineMs = Number.POSITIVE_INFINITY;
  private totalCount = 0;
  private totalTokens = 0;

  get count(): number {
    return this.totalCount;
  }

  get promptTokens(): number {
    return this.totalTokens;
  }

  countByClass(): Record<PriorityClass, number> {
    return {
      interactive: this.of('interactive').count,
      standard: this.of('standard').count,
      batch: this.of('batch').count,
    };
  }

  /** How many get a slot before a newcomer of this class and tenant. */
  aheadOf(priorityClass: PriorityClass, tenant: string): number {
    let ahead = 0;
    for (const [name, queue] of this.classes) {
      if (name === priorityClass) return ahead + queue.aheadOf(tenant);
      ahead += queue.count;
    }
    return ahead;
  }

  fairShare(priorityClass: PriorityClass): FairShare {
    return this.of(priorityClass).fairShare;
  }

  add(sequence: Sequence): void {
    this.of(sequence.spec.priorityClass).add(sequence);
    this.totalCount += 1;
    this.totalTokens += lineTokens(sequence);
    this.earliestDeadlineMs = Math.min(this.earliestDeadlineMs, deadlineOf(sequence));
  }

  /** @returns false if it was not waiting */
  remove(sequence: Sequence): boolean {
    if (!this.of(sequence.spec.priorityClass).remove(sequence)) return false;
    this.totalCount -= 1;
    this.totalTokens -= lineTokens(sequence);
    return true;
  }

  /** Who should get the next free slot; it stays in the line. */
  next(): Sequence | null {
    const heads = new Map([...this.classes].map(([name, queue]) => [name, queue.next()]));
    const priorityClass = nextClass((name) => heads.get(name)?.oldestArrivalMs);
    return priorityClass && heads.get(priorityClass)!.sequence;
  }

  /** Of the highest class that waits, who should get the next slot; how long others have waited does not count. */
  highest(): Sequence | null {
    for (const queue of this.classes.values()) {
      const candidate = queue.next();
      if (candidate) return candidate.sequence;
    }
    return null;
  }

  /** Takes out every sequence whose deadline has passed. */
  takeExpired(nowMs: number): Sequence[] {
    if (nowMs < this.earliestDeadlineMs) return [];
    const expired: Sequence[] = [];
    this.earliestDeadlineMs = Number.POSITIVE_INFINITY;
    for (const sequence of this.all()) {
      const deadlineMs = deadlineOf(sequence);
      if (deadlineMs <= nowMs) expired.push(sequence);
      else this.earliestDeadlineMs = Math.min(this.earliestDeadlineMs, deadlineMs);
    }
    for (const sequence of expired) this.remove(sequence);
    return expired;
  }

  private *all(): Generator<Sequence> {
    for (const queue of this.classes.values()) {
      for (const line of queue.lines.values()) yield* line.all();
    }
  }

  private of(priorityClass: PriorityClass): ClassQueue {
    return this.classes.get(priorityClass)!;
  }
}

function lineTokens({ spec, hasStarted }: Sequence): number {
  return hasStarted ? 0 : spec.prompt.length;
}

function deadlineOf({ spec, hasStarted }: Sequence): number {
  return hasStarted ? Number.POSITIVE_INFINITY : (spec.deadlineMs ?? Number.POSITIVE_INFINITY);
}
