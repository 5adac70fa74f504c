import { admit, type Rejection } from './admission.js';
import { invariant } from './assert.js';
import { Compaction } from './compaction.js';
import type { FinishReason, SchedulerEvent } from './events.js';
import { generatedTokenWeight, promptTokenWeight } from './fair-share.js';
import { defaultOperationCosts } from './operation-costs.js';
import { type SchedulingPolicy, throughputFirst } from './policy.js';
import { type Row, type SchedulerConfig, type TickPlan, type TickResult, writtenSlot } from './ports.js';
import { chooseVictim, maxPreemptionsPerTick, stayTokens } from './preemption.js';
import { Sequence } from './sequence.js';
import type { SequenceSpec } from './sequence-spec.js';
import { SlotCosts } from './slot-costs.js';
import { SlotPool } from './slot-pool.js';
import type { PreemptionCounts, SchedulerStats } from './stats.js';
import { TickCosts } from './tick-costs.js';
import { assertRows, layOutRows } from './tick-planner.js';
import { TickSharing } from './tick-sharing.js';
import { WaitingQueue } from './waiting-queue.js';
import { workOf } from './work-of.js';

/** A sequence whose decode calls fail this often in a row ends with `error`. */
export const maxFailedTicks = 3;

/** What a tick needs to know, and what happened while it was planned. */
export interface PlannedTick {
  /** null: nothing to decode. */
  plan: TickPlan | null;
  events: SchedulerEvent[];
}

/**
 * Decides, never acts: which sequence holds which slot and which tokens go into the next decode call.
 * Synchronous and deterministic. Call `planTick`, run the plan, call `applyTick` with what came of it; in between,
 * `submit`, `cancel` and `finish` may be called at any time. Times are milliseconds of one monotonic clock.
 */
export class Scheduler {
  private readonly config: SchedulerConfig;
  private readonly queue = new WaitingQueue();
  private readonly pool: SlotPool;
  private readonly slotCosts: SlotCosts;
  private readonly sequences = new Map<number, Sequence>();
  private readonly running = new Set<Sequence>();
  private pendingEvents: SchedulerEvent[] = [];
  private inFlight: TickPlan | null = null;
  private ticks = 0;
  private starts = 0;
  private readonly preemptions: PreemptionCounts = { saved: 0, left: 0 };
  private readonly sharing: TickSharing;
  private readonly compaction = new Compaction();
  /** Fed by every tick; a calibration may feed it before the first one. */
  readonly costs: TickCosts;

  constructor(config: SchedulerConfig, policy: SchedulingPolicy = throughputFirst) {
    invariant(
      config.slotCount >= 1 && config.slotCount <= 256,
      () => `slotCount ${config.slotCount} is not 1 to 256`,
    );
    invariant(
      config.batchTokens >= config.slotCount,
      () => `batchTokens ${config.batchTokens} cannot hold a row per slot`,
    );
    this.config = config;
    this.costs = new TickCosts(policy.threadChoices);
    this.sharing = new TickSharing(config, policy, this.costs);
    this.slotCosts = new SlotCosts(this.costs, config.operationCosts ?? defaultOperationCosts);
    this.pool = new SlotPool({
      slotCount: config.slotCount,
      costs: this.slotCosts,
      snapshotBytes: config.snapshotBytes ?? 0,
      snapshotBytesPerToken: config.snapshotBytesPerToken ?? null,
      reusePrefixes: config.reusePrefixes ?? true,
    });
  }

  /** Takes all sequences into the line or none. */
  submit(specs: readonly SequenceSpec[], nowMs: number): Rejection | null {
    const line = {
      waiting: this.queue.count,
      waitingTokens: this.queue.promptTokens,
      freeSlots: this.pool.freeCount,
    };
    const rejection = admit(specs, line, this.config);
    if (rejection) return rejection;
    for (const spec of specs) {
      invariant(spec.prompt.length > 0 && spec.maxTokens > 0, () => `sequence ${spec.id} has nothing to do`);
      invariant(!this.sequences.has(spec.id), () => `sequence id ${spec.id} is taken`);
      const sequence = new Sequence(spec, nowMs);
      this.sequences.set(spec.id, sequence);
      this.queue.add(sequence);
      this.pool.expect(spec);
    }
    return null;
  }

  /** Ends a sequence for its client's sake, in any state; its slot is free after the tick in flight. Idempotent. */
  cancel(sequenceId: number): void {
    this.end(sequenceId, 'cancelled');
  }

  /** Ends a sequence whose text is complete (a stop string appeared). Idempotent. */
  finish(sequenceId: number): void {
    this.end(sequenceId, 'stop');
  }

  planTick(nowMs: number): PlannedTick {
    invariant(this.inFlight === null, () => 'planned a tick while one is in flight');
    for (const sequence of this.queue.takeExpired(nowMs)) this.close(sequence, 'expired', null);
    this.settleWaiting();
    const firstNewRank = this.starts;
    this.startWaiting(nowMs);
    this.preemptForWaiting(nowMs, firstNewRank);
    const move = this.compaction.choose(this.pool.slots, this.slotCosts);
    // A copy for one that sits out saves no pass.
    if (move && !this.sharing.maySitOut(move.sequence, this.running)) {
      this.pool.move(move.sequence, move.toSlot);
    }
    const { shares, fillers } = this.sharing.share(this.pool.slots, nowMs);
    const { rows, operations } = layOutRows(this.pool.slots, shares);
    if (rows.length === 0) return { plan: null, events: this.takeEvents() };
    assertRows(rows, this.config);
    this.ticks += 1;
    const work = workOf(rows, this.config.batchTokens, fillers);
    const threads = this.costs.chooseThreads(work);
    const plan: TickPlan = {
      tick: this.ticks,
      operations: [...this.pool.takeOperations(), ...operations],
      rows,
      fillers,
      work,
      threads,
    };
    this.inFlight = plan;
    return { plan, events: this.takeEvents() };
  }

  applyTick(result: TickResult): SchedulerEvent[] {
    const plan = this.inFlight;
    invariant(plan !== null, () => 'applied a tick that was not planned');
    this.inFlight = null;
    this.pool.applied(plan, result);
    this.observeFiles(plan, result.fileMs);
    if (result.outcome === 'decoded') {
      this.observeCosts(plan, result.decodeMs);
      invariant(
        result.sampledTokens.length === plan.rows.length,
        () => 'sampled tokens do not match the rows',
      );
      plan.rows.forEach((row, index) => {
        this.applyRow(row, result.sampledTokens[index]!, result.samplingErrors?.get(index));
      });
    } else if (result.outcome === 'slots-lost') this.applyLostSlots(plan, result.slots);
    else this.applyFailure(plan, result.message);
    this.closeEnding(plan);
    return this.takeEvents();
  }

  /** Milliseconds that prefill must not push the gap between two tokens over; 0: no target. */
  get itlTargetMs(): number {
    return this.sharing.itlTargetMs;
  }

  get hasWork(): boolean {
    return this.running.size > 0 || this.queue.count > 0 || this.pendingEvents.length > 0;
  }

  /** What each slot holds by the scheduler's account: positions, or null when unknown. For truth checks. */
  slotTokens(): readonly (number | null)[] {
    return this.pool.slots.map((slot) => slot.kvTokens);
  }

  /** The engine holds something else than the account says: the slot is emptied and its owner computes again. */
  loseSlot(index: number): void {
    this.pool.lose(this.pool.slots[index]!, null);
  }

  /** For tests: takes time in proportion to everything that is cached. @throws InvariantError */
  checkIntegrity(): void {
    this.pool.checkIntegrity();
  }

  stats(): SchedulerStats {
    let prefilling = 0;
    for (const sequence of this.running) if (sequence.isPrefilling) prefilling += 1;
    const { cachedCount, freeCount } = this.pool;
    return {
      waiting: this.queue.count,
      waitingTokens: this.queue.promptTokens,
      waitingByClass: this.queue.countByClass(),
      running: this.running.size,
      prefilling,
      decoding: this.running.size - prefilling,
      slotCount: this.config.slotCount,
      cachedSlots: cachedCount,
      emptySlots: freeCount - cachedCount,
      cache: this.pool.cacheStats(),
      preemptions: this.preemptions,
      itlTargetMs: this.sharing.itlTargetMs,
      costs: this.costs.summary(),
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
      const victim = waiting && chooseVictim(this.running, waiting, mayLeave);
      if (!victim) return;
      this.preempt(victim, waiting.spec.id);
      this.start(waiting, nowMs);
    }
  }

  private preempt(sequence: Sequence, forSequenceId: number): void {
    const isSaved = this.pool.preempt(sequence);
    this.preemptions[isSaved ? 'saved' : 'left'] += 1;
    this.running.delete(sequence);
    sequence.preempt(stayTokens(sequence.preemptions));
    this.queue.add(sequence);
    this.pendingEvents.push({ type: 'preempted', sequenceId: sequence.spec.id, forSequenceId });
  }

  private start(sequence: Sequence, nowMs: number): void {
    this.queue.remove(sequence);
    const { slot, inPlaceTokens } = this.pool.acquire(sequence);
    const waitMs = nowMs - sequence.arrivalMs;
    const got = { sequenceId: sequence.spec.id, slot: slot.index };
    const isResumed = sequence.hasStarted;
    this.pendingEvents.push(isResumed ? { type: 'resumed', ...got } : { type: 'started', ...got, waitMs });
    sequence.start(slot.index, this.starts, inPlaceTokens);
    this.starts += 1;
    this.running.add(sequence);
    this.settle(sequence);
  }

  /** Those that wait for a prefix others compute, or for time to bring theirs, look again. */
  private settleWaiting(): void {
    for (const sequence of this.running) if (!sequence.isSettled) this.settle(sequence);
  }

  private settle(sequence: Sequence): void {
    if (!this.pool.settle(sequence, this.isDecoding()) || sequence.preemptions > 0) return;
    const { prompt } = sequence.spec;
    this.charge(sequence, (prompt.length - sequence.cachedTokens) * promptTokenWeight);
  }

  private isDecoding(): boolean {
    for (const { isSettled, generatedTokens } of this.running)
      if (isSettled && generatedTokens > 0) return true;
    return false;
  }

  private applyRow(row: Row, token: number, samplingError = 'no token could be sampled'): void {
    const slot = this.pool.slots[row.slot]!;
    const sequence = slot.owner!;
    sequence.advance(row.tokens.length);
    sequence.failedTicks = 0;
    slot.kvTokens = sequence.computedTokens;
    if (!row.sample || sequence.endingReason) return;
    if (token < 0) {
      this.close(sequence, 'error', samplingError);
      return;
    }
    sequence.generatedTokens += 1;
    this.charge(sequence, generatedTokenWeight);
    if (this.config.endTokens.has(token) && !sequence.spec.ignoreEndToken) {
      this.close(sequence, 'stop', null);
      return;
    }
    sequence.append(token);
    const index = sequence.generatedTokens - 1;
    this.pendingEvents.push({ type: 'token', sequenceId: row.sequenceId, token, index });
    if (sequence.generatedTokens >= sequence.spec.maxTokens) this.close(sequence, 'length', null);
  }

  private observeFiles({ operations }: TickPlan, fileMs: number | undefined): void {
    if (fileMs === undefined) return;
    let expectedMs = 0;
    for (const operation of operations) {
      if (operation.kind === 'save') expectedMs += this.slotCosts.saveMs(operation.tokens.length);
      else if (operation.kind === 'restore') expectedMs += this.slotCosts.restoreMs(operation.keepTokens);
    }
    if (expectedMs > 0) this.slotCosts.observeFiles(expectedMs, fileMs);
    else this.slotCosts.forgetFiles();
  }

  private observeCosts({ operations, work, threads }: TickPlan, decodeMs: number): void {
    const copies = operations.filter(({ kind }) => kind === 'copy').length;
    if (copies > 0) this.slotCosts.observeCopies(copies, decodeMs - this.costs.predictMs(work));
    else this.costs.observe(work, threads, decodeMs);
  }

  private applyLostSlots(plan: TickPlan, lost: readonly number[]): void {
    for (const operation of plan.operations) {
      const written = writtenSlot(operation);
      if (written) this.pool.slots[written.slot]!.kvTokens = written.keepTokens;
    }
    for (const index of lost) this.pool.lose(this.pool.slots[index]!, 0);
  }

  private applyFailure(plan: TickPlan, message: string): void {
    for (const operation of plan.operations) {
      const written = writtenSlot(operation);
      if (written) this.pool.lose(this.pool.slots[written.slot]!, null);
    }
    for (const { slot } of plan.fillers ?? []) this.pool.lose(this.pool.slots[slot]!, null);
    for (const row of plan.rows) {
      const slot = this.pool.slots[row.slot]!;
      const sequence = slot.owner!;
      this.pool.lose(slot, null);
      sequence.failedTicks += 1;
      if (sequence.failedTicks >= maxFailedTicks) this.close(sequence, 'error', message);
    }
  }

  private closeEnding(plan: TickPlan): void {
    for (const { sequenceId } of plan.rows) {
      const sequence = this.sequences.get(sequenceId);
      if (sequence?.endingReason) this.close(sequence, sequence.endingReason, null);
    }
  }

  private end(sequenceId: number, reason: FinishReason): void {
    const sequence = this.sequences.get(sequenceId);
    if (!sequence) return;
    const isInFlight = this.inFlight?.rows.some((row) => row.sequenceId === sequenceId) ?? false;
    if (isInFlight) sequence.endingReason ??= reason;
    else this.close(sequence, reason, null);
  }

  private close(sequence: Sequence, reason: FinishReason, message: string | null): void {
    if (sequence.state === 'finished') return;
    if (sequence.state === 'waiting') this.queue.remove(sequence);
    else {
      this.pool.release(sequence);
      this.running.delete(sequence);
    }
    sequence.state = 'finished';
    this.sequences.delete(sequence.spec.id);
    const { generatedTokens, cachedTokens } = sequence;
    this.pendingEvents.push({
      type: 'finished',
      sequenceId: sequence.spec.id,
      reason,
      generatedTokens,
      cachedTokens,
      message,
    });
  }

  private charge(sequence: Sequence, cost: number): void {
    this.queue.fairShare(sequence.spec.priorityClass).charge(sequence.spec.tenant, cost);
  }

  private takeEvents(): SchedulerEvent[] {
    const events = this.pendingEvents;
    this.pendingEvents = [];
    return events;
  }
}
