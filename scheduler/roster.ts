import type { LineState } from './admission.js';
import { invariant } from './assert.js';
import type { FinishReason, SchedulerEvent } from './events.js';
import { promptTokenWeight } from './fair-share.js';
import { chooseVictim, maxPreemptionsPerTick, stayTokens } from './preemption.js';
import { Sequence } from './sequence.js';
import type { PriorityClass, SequenceSpec } from './sequence-spec.js';
import type { SlotPool } from './slot-pool.js';
import type { PreemptionCounts, SchedulerStats } from './stats.js';
import { WaitingQueue } from './waiting-queue.js';

/** Every sequence from the line to its end: who starts, who gives up a slot, who is done, and what is told of it. */
export class Roster {
  private readonly pool: SlotPool;
  private readonly queue = new WaitingQueue();
  private readonly sequences = new Map<number, Sequence>();
  private readonly holders = new Set<Sequence>();
  private readonly preemptions: PreemptionCounts = { saved: 0, left: 0 };
  private events: SchedulerEvent[] = [];
  private starts = 0;

  constructor(pool: SlotPool) {
    this.pool = pool;
  }

  /** Who holds a slot. */
  get running(): ReadonlySet<Sequence> {
    return this.holders;
  }

  get hasWork(): boolean {
    return this.holders.size > 0 || this.queue.count > 0 || this.events.length > 0;
  }

  get line(): LineState {
    return {
      waiting: this.queue.count,
      waitingTokens: this.queue.promptTokens,
      freeSlots: this.pool.freeCount,
    };
  }

  /** How many that wait get a slot before a newcomer of this class and tenant. */
  aheadOf(priorityClass: PriorityClass, tenant: string): number {
    return this.queue.aheadOf(priorityClass, tenant);
  }

  /** Undefined once it has ended. */
  find(sequenceId: number): Sequence | undefined {
    return this.sequences.get(sequenceId);
  }

  /** Into the line. */
  enter(spec: SequenceSpec, nowMs: number): void {
    invariant(spec.prompt.length > 0 && spec.maxTokens > 0, () => `sequence ${spec.id} has nothing to do`);
    invariant(!this.sequences.has(spec.id), () => `sequence id ${spec.id} is taken`);
    const sequence = new Sequence(spec, nowMs);
    this.sequences.set(spec.id, sequence);
    this.queue.add(sequence);
    this.pool.expect(spec);
  }

  /** Drops who waited for too long, and gives slots to those who are next. */
  advance(nowMs: number): void {
    for (const sequence of this.queue.takeExpired(nowMs)) this.close(sequence, 'expired', null);
    this.settleWaiting();
    const firstNewRank = this.starts;
    this.startWaiting(nowMs);
    this.preemptForWaiting(nowMs, firstNewRank);
  }

  close(sequence: Sequence, reason: FinishReason, message: string | null): void {
    if (sequence.state === 'finished') return;
    if (sequence.state === 'waiting') this.queue.remove(sequence);
    else {
      this.pool.release(sequence);
      this.holders.delete(sequence);
    }
    sequence.state = 'finished';
    this.sequences.delete(sequence.spec.id);
    const { generatedTokens, cachedTokens } = sequence;
    this.tell({
      type: 'finished',
      sequenceId: sequence.spec.id,
      reason,
      generatedTokens,
      cachedTokens,
      message,
    });
  }

  charge(sequence: Sequence, cost: number): void {
    this.queue.fairShare(sequence.spec.priorityClass).charge(sequence.spec.tenant, cost);
  }

  tell(event: SchedulerEvent): void {
    this.events.push(event);
  }

  takeEvents(): SchedulerEvent[] {
    const events = this.events;
    this.events = [];
    return events;
  }

  stats(): Pick<
    SchedulerStats,
    | 'waiting'
    | 'waitingTokens'
    | 'waitingByClass'
    | 'running'
    | 'runningByClass'
    | 'prefilling'
    | 'decoding'
    | 'preemptions'
  > {
    let prefilling = 0;
    const runningByClass = { interactive: 0, standard: 0, batch: 0 };
    for (const sequence of this.holders) {
      if (sequence.isPrefilling) prefilling += 1;
      runningByClass[sequence.spec.priorityClass] += 1;
    }
    const { waiting, waitingTokens } = this.line;
    return {
      waiting,
      waitingTokens,
      waitingByClass: this.queue.countByClass(),
      running: this.holders.size,
      runningByClass,
      prefilling,
      decoding: this.holders.size - prefilling,
      preemptions: this.preemptions,
    };
  }

  private startWaiting(nowMs: number): void {
    while (this.pool.freeCount > 0) {
      const sequence = this.queue.next();
      if (!sequence) return;
      this.start(sequence, nowMs);
    }
  }

  /** @param firstNewRank who got its slot in this tick keeps it */
  private preemptForWaiting(nowMs: number, firstNewRank: number): void {
    const mayLeave = (sequence: Sequence) =>
      sequence.startRank < firstNewRank && this.pool.mayLeave(sequence);
    for (let count = 0; count < maxPreemptionsPerTick && this.pool.hasOperationTime; count += 1) {
      const waiting = this.queue.highest();
      const victim = waiting && chooseVictim(this.holders, waiting, mayLeave);
      if (!victim) return;
      this.preempt(victim, waiting.spec.id);
      this.start(waiting, nowMs);
    }
  }

  private preempt(sequence: Sequence, forSequenceId: number): void {
    const isSaved = this.pool.preempt(sequence);
    this.preemptions[isSaved ? 'saved' : 'left'] += 1;
    this.holders.delete(sequence);
    sequence.preempt(stayTokens(sequence.preemptions));
    this.queue.add(sequence);
    this.tell({ type: 'preempted', sequenceId: sequence.spec.id, forSequenceId });
  }

  private start(sequence: Sequence, nowMs: number): void {
    this.queue.remove(sequence);
    const { slot, inPlaceTokens } = this.pool.acquire(sequence);
    const waitMs = nowMs - sequence.arrivalMs;
    const got = { sequenceId: sequence.spec.id, slot: slot.index };
    const isResumed = sequence.hasStarted;
    this.tell(isResumed ? { type: 'resumed', ...got } : { type: 'started', ...got, waitMs });
    sequence.start(slot.index, this.starts, inPlaceTokens);
    this.starts += 1;
    this.holders.add(sequence);
    this.settle(sequence);
  }

  /** Those that wait for a prefix others compute, or for time to bring theirs, look again. */
  private settleWaiting(): void {
    for (const sequence of this.holders) if (!sequence.isSettled) this.settle(sequence);
  }

  private settle(sequence: Sequence): void {
    if (!this.pool.settle(sequence, this.isDecoding()) || sequence.preemptions > 0) return;
    const { prompt } = sequence.spec;
    this.charge(sequence, (prompt.length - sequence.cachedTokens) * promptTokenWeight);
  }

  private isDecoding(): boolean {
    for (const { isSettled, generatedTokens } of this.holders)
      if (isSettled && generatedTokens > 0) return true;
    return false;
  }
}
