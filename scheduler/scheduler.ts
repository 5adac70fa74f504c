import { admit, type Rejection } from './admission.js';
import { Anticipation } from './anticipation.js';
import { invariant } from './assert.js';
import { Compaction } from './compaction.js';
import type { FinishReason, SchedulerEvent } from './events.js';
import { generatedTokenWeight } from './fair-share.js';
import { defaultOperationCosts } from './operation-costs.js';
import { type SchedulingPolicy, throughputFirst } from './policy.js';
import { type Row, type SchedulerConfig, type TickPlan, type TickResult, writtenSlot } from './ports.js';
import { Roster } from './roster.js';
import { isEndOf, type PriorityClass, type SequenceSpec } from './sequence-spec.js';
import { SlotCosts } from './slot-costs.js';
import { SlotPool } from './slot-pool.js';
import type { SchedulerStats } from './stats.js';
import { TickCosts } from './tick-costs.js';
import { assertRows, layOutRows } from './tick-planner.js';
import { TickSharing } from './tick-sharing.js';
import { workOf } from './work-of.js';

/** A sequence whose decode calls fail this often in a row ends with `error`. */
export const maxFailedTicks = 3;

/** What a tick needs to know, and what happened while it was planned. */
export interface PlannedTick {
  /** null: nothing to decode, or not yet. */
  plan: TickPlan | null;
  /** Without a plan, when to ask again at the latest: in so many milliseconds; 0: when there is work. */
  holdMs: number;
  events: SchedulerEvent[];
}

/**
 * Decides, never acts: which sequence holds which slot and which tokens go into the next decode call.
 * Synchronous and deterministic. Call `planTick`, run the plan, call `applyTick` with what came of it; in between,
 * `submit`, `cancel` and `finish` may be called at any time. Times are milliseconds of one monotonic clock.
 */
export class Scheduler {
  private readonly config: SchedulerConfig;
  private readonly pool: SlotPool;
  private readonly roster: Roster;
  private readonly slotCosts: SlotCosts;
  private inFlight: TickPlan | null = null;
  private ticks = 0;
  private readonly sharing: TickSharing;
  private readonly compaction = new Compaction();
  private readonly anticipation = new Anticipation();
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
      bulkSitsOut: policy.itlTargetMs !== 0,
    });
    this.roster = new Roster(this.pool);
  }

  /** Takes all sequences into the line or none. */
  submit(specs: readonly SequenceSpec[], nowMs: number): Rejection | null {
    const rejection = admit(specs, this.roster.line, this.config);
    if (rejection) return rejection;
    for (const spec of specs) this.roster.enter(spec, nowMs);
    this.anticipation.seeArrivals(specs.length, nowMs);
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
    if (this.roster.running.size === 0) this.anticipation.forget();
    const holdMs = this.anticipation.holdMs(nowMs);
    if (holdMs > 0) return { plan: null, holdMs, events: this.roster.takeEvents() };
    this.roster.advance(nowMs);
    const move = this.compaction.choose(this.pool.slots, this.slotCosts);
    // A copy for one that sits out saves no pass.
    if (move && !this.sharing.maySitOut(move.sequence, this.roster.running, nowMs)) {
      this.pool.move(move.sequence, move.toSlot);
    }
    const { shares, fillers } = this.sharing.share(this.pool.slots, nowMs);
    const { rows, operations } = layOutRows(this.pool.slots, shares);
    if (rows.length === 0) return { plan: null, holdMs: 0, events: this.roster.takeEvents() };
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
    return { plan, holdMs: 0, events: this.roster.takeEvents() };
  }

  applyTick(result: TickResult): SchedulerEvent[] {
    const plan = this.inFlight;
    invariant(plan !== null, () => 'applied a tick that was not planned');
    this.inFlight = null;
    this.pool.applied(plan, result);
    this.slotCosts.observeOperations(plan.operations, result.fileMs);
    if (result.outcome === 'decoded') {
      this.slotCosts.observeCall(plan, result.decodeMs);
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
    const events = this.roster.takeEvents();
    if (result.outcome === 'decoded') this.anticipate(events, result.decodeMs);
    return events;
  }

  /** Milliseconds that prefill must not push the gap between two tokens over; 0: no target. */
  get itlTargetMs(): number {
    return this.sharing.itlTargetMs;
  }

  get hasWork(): boolean {
    return this.roster.hasWork;
  }

  /** How many that wait get a slot before a newcomer of this class and tenant, as classes stand now. */
  aheadOf(priorityClass: PriorityClass, tenant: string): number {
    return this.roster.aheadOf(priorityClass, tenant);
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
    const { cachedCount, freeCount } = this.pool;
    return {
      ...this.roster.stats(),
      slotCount: this.config.slotCount,
      cachedSlots: cachedCount,
      emptySlots: freeCount - cachedCount,
      cache: this.pool.cacheStats(),
      itlTargetMs: this.sharing.itlTargetMs,
      costs: this.costs.summary(),
    };
  }

  private applyRow(row: Row, token: number, samplingError = 'no token could be sampled'): void {
    const slot = this.pool.slots[row.slot]!;
    const sequence = slot.owner!;
    sequence.advance(row.tokens.length);
    sequence.failedTicks = 0;
    slot.kvTokens = sequence.computedTokens;
    if (!row.sample || sequence.endingReason) return;
    if (token < 0) {
      this.roster.close(sequence, 'error', samplingError);
      return;
    }
    sequence.generatedTokens += 1;
    this.roster.charge(sequence, generatedTokenWeight);
    if (isEndOf(sequence.spec, token, this.config.endTokens)) {
      this.roster.close(sequence, 'stop', null);
      return;
    }
    sequence.append(token);
    const index = sequence.generatedTokens - 1;
    this.roster.tell({ type: 'token', sequenceId: row.sequenceId, token, index });
    if (sequence.generatedTokens >= sequence.spec.maxTokens) this.roster.close(sequence, 'length', null);
  }

  /** Only where gaps between tokens count, and if whoever follows would not have to wait in line. */
  private anticipate(events: readonly SchedulerEvent[], decodeMs: number): void {
    if (this.sharing.itlTargetMs === 0 || this.roster.line.waiting > 0) this.anticipation.forget();
    else this.anticipation.seeAnswers(events.filter(isAnswer).length, decodeMs);
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
      if (sequence.failedTicks >= maxFailedTicks) this.roster.close(sequence, 'error', message);
    }
  }

  private closeEnding(plan: TickPlan): void {
    for (const { sequenceId } of plan.rows) {
      const sequence = this.roster.find(sequenceId);
      if (sequence?.endingReason) this.roster.close(sequence, sequence.endingReason, null);
    }
  }

  private end(sequenceId: number, reason: FinishReason): void {
    const sequence = this.roster.find(sequenceId);
    if (!sequence) return;
    const isInFlight = this.inFlight?.rows.some((row) => row.sequenceId === sequenceId) ?? false;
    if (isInFlight) sequence.endingReason ??= reason;
    else this.roster.close(sequence, reason, null);
  }
}

function isAnswer(event: SchedulerEvent): boolean {
  return event.type === 'finished' && (event.reason === 'stop' || event.reason === 'length');
}
