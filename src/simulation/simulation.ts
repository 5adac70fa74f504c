import {
  type CacheStats,
  type PreemptionCounts,
  Scheduler,
  type SchedulerConfig,
  type SchedulerEvent,
  type SchedulingPolicy,
  type SequenceSpec,
  type SlotOperation,
  type TickPlan,
  type TickResult,
} from '../../scheduler/index.js';
import { Clients, type ServerSide } from './clients.js';
import { drawFaults } from './draw-fault.js';
import { EventLog } from './event-log.js';
import { createInvariants } from './invariants/index.js';
import type { Invariant, SchedulerUnderTest, World } from './invariants/invariant.js';
import { Ledger } from './ledger.js';
import { type DecodeOutcome, find, SimulatedMachine } from './machine.js';
import { type RunOptions, type RunReport, runToEnd } from './run.js';
import type { Fault, Scenario } from './scenario.js';
import { SteppingClock, Timeline } from './timeline.js';
import { require } from './violation.js';

export type CreateScheduler = (config: SchedulerConfig, policy: SchedulingPolicy) => SchedulerUnderTest;

export interface SimulationOptions extends RunOptions {
  createScheduler?: CreateScheduler;
}

/** Where in its life a sequence was when its client left it. */
export type LeavingState = 'waiting' | 'prefilling' | 'decoding' | 'preempted' | 'in-flight';

export interface SimulationReport extends RunReport<Scenario> {
  admitted: number;
  reusedTokens: number;
  leavings: Record<LeavingState, number>;
  /** Slot operations that were planned. */
  operations: Record<SlotOperation['kind'], number>;
  cache: CacheStats;
  preemptions: PreemptionCounts;
}

/** More turns without a call than this, while there is said to be work, is a busy loop. */
const mostIdleTurns = 4;
/** Turns also pass while nobody is there; a run whose requests were left out has to end all the same. */
const turnsPerTick = 8;
const clockStepsMs = [1, 500, 40_000, 3_600_000];
const lateDeliveryTicks = 3;

/**
 * The tick loop of `src/serving/tick-loop.ts` in simulated time: plan, deliver in the shadow of the call,
 * apply, compare. Everything that can happen during a call happens at its own moment of simulated time.
 */
class Simulation implements ServerSide {
  private readonly scenario: Scenario;
  private readonly options: SimulationOptions;
  private readonly timeline = new Timeline();
  private readonly clock: SteppingClock;
  private readonly log: EventLog;
  private readonly scheduler: SchedulerUnderTest;
  private readonly ledger: Ledger;
  private readonly machine: SimulatedMachine;
  private readonly world: World;
  private readonly invariants: Invariant[];
  private readonly clients: Clients;
  private readonly faults: string[] = [];
  private readonly leavings: Record<LeavingState, number> = {
    waiting: 0,
    prefilling: 0,
    decoding: 0,
    preempted: 0,
    'in-flight': 0,
  };
  private readonly operations = { truncate: 0, copy: 0, save: 0, restore: 0, forget: 0 };
  private undelivered: SchedulerEvent[] = [];
  private inFlight: TickPlan | null = null;
  private heldBackUntilTick = 0;
  private isCalm = false;
  private tick = 0;
  private turns = 0;
  private idleTurns = 0;

  constructor(scenario: Scenario, options: SimulationOptions) {
    const { config, policy, clock, meanLengthTokens } = scenario;
    this.scenario = scenario;
    this.options = options;
    this.clock = new SteppingClock(this.timeline, clock.resolutionMs, clock.startMs);
    this.log = new EventLog(options.keepsLog ?? false);
    this.scheduler = options.createScheduler?.(config, policy) ?? new Scheduler(config, policy);
    this.ledger = new Ledger(meanLengthTokens);
    this.machine = new SimulatedMachine(scenario, (id) => this.ledger.entries.get(id)!.spec.cacheSalt);
    this.world = {
      scenario,
      scheduler: this.scheduler,
      ledger: this.ledger,
      machine: this.machine,
      stats: this.scheduler.stats(),
    };
    this.invariants = createInvariants(this.world);
    this.clients = new Clients(scenario, this.timeline, this, options.keepRequest ?? (() => true));
  }

  run(): SimulationReport {
    const ending = runToEnd(
      () => {
        while (this.turn());
      },
      this.log,
      this.timeline,
    );
    const entries = [...this.ledger.entries.values()];
    return {
      ...ending,
      scenario: this.scenario,
      tick: this.tick,
      requests: this.clients.arrived,
      faults: this.faults,
      admitted: entries.length,
      tokens: entries.reduce((sum, entry) => sum + entry.delivered, 0),
      reusedTokens: entries.reduce((sum, entry) => sum + (entry.cachedTokens ?? 0), 0),
      leavings: this.leavings,
      operations: this.operations,
      cache: this.scheduler.stats().cache,
      preemptions: this.scheduler.stats().preemptions,
    };
  }

  /** @returns false when everything has ended */
  private turn(): boolean {
    this.turns += 1;
    const { ticks } = this.options;
    const isOver = this.tick >= ticks || this.turns >= ticks * turnsPerTick;
    if (!this.isCalm && isOver) this.calm();
    const clockMs = this.clock.read();
    const { plan, holdMs, events } = this.scheduler.planTick(clockMs);
    this.take(events, clockMs);
    if (holdMs > 0) return this.hold(holdMs, clockMs);
    if (plan) {
      this.logPlan(plan);
      this.ledger.relocate(plan);
    }
    this.world.stats = this.scheduler.stats();
    for (const invariant of this.invariants) invariant.planned?.(plan, clockMs);
    if (plan) {
      this.idleTurns = 0;
      this.fly(plan);
      return true;
    }
    this.deliver();
    if (!this.scheduler.hasWork) return this.sleep();
    this.idleTurns += 1;
    require(this.idleTurns <= mostIdleTurns, 'liveness', () =>
      'the loop spins: there is work, but nothing is planned');
    return true;
  }

  /** Until something happens, but no longer than this. */
  private hold(longestMs: number, clockMs: number): boolean {
    this.log.add(this.timeline.nowMs, 'hold', [longestMs]);
    for (const invariant of this.invariants) invariant.held?.(longestMs, clockMs);
    this.deliver();
    this.timeline.advance(Math.min(longestMs, this.timeline.untilNextMs));
    return true;
  }

  private calm(): void {
    this.isCalm = true;
    this.heldBackUntilTick = 0;
    this.clients.quiet();
    this.log.add(this.timeline.nowMs, 'calm', [this.ledger.unfinished]);
    for (const invariant of this.invariants) invariant.calmed?.();
  }

  private fly(plan: TickPlan): void {
    this.tick += 1;
    for (const { kind } of plan.operations) this.operations[kind] += 1;
    const faults = this.isCalm ? [] : this.faultsOf(this.tick);
    this.machine.loseBefore(faults);
    const outcome = this.execute(plan, faults);
    const startedMs = this.clock.read();
    this.inFlight = plan;
    if (find(faults, 'late-delivery')) this.heldBackUntilTick = this.tick + lateDeliveryTicks;
    if (this.tick >= this.heldBackUntilTick) this.deliver();
    const storm = find(faults, 'cancel-storm');
    if (storm) this.clients.storm(storm.draw);
    this.timeline.advance(this.machine.durationMs(plan, faults));
    const step = find(faults, 'clock-step');
    if (step) this.clock.stepForward(clockStepsMs[step.draw % clockStepsMs.length]!);
    this.inFlight = null;
    const clockMs = this.clock.read();
    const result: TickResult =
      outcome.outcome === 'decoded' ? { ...outcome, decodeMs: clockMs - startedMs } : outcome;
    this.land(plan, result, clockMs);
  }

  private execute(plan: TickPlan, faults: readonly Fault[]): DecodeOutcome {
    const { saves, lost } = this.machine.applyOperations(plan, faults);
    if (lost.length > 0) return { outcome: 'slots-lost', slots: lost, saves };
    for (const invariant of this.invariants) invariant.decodable?.(plan);
    for (const row of plan.rows) this.ledger.settleRow(row);
    return { ...this.machine.decode(plan, faults), saves };
  }

  private land(plan: TickPlan, result: TickResult, clockMs: number): void {
    this.logResult(result);
    this.ledger.applyResult(plan, result);
    this.take(this.scheduler.applyTick(result), clockMs);
    this.scheduler.checkIntegrity();
    this.compareSlots(plan);
    this.world.stats = this.scheduler.stats();
    for (const invariant of this.invariants) invariant.applied?.(clockMs);
  }

  /** As the tick loop does: what the plan touched must be what the scheduler believes. */
  private compareSlots(plan: TickPlan): void {
    const believed = this.scheduler.slotTokens();
    for (const { slot } of plan.rows) {
      const expected = believed[slot] ?? null;
      if (expected === null || this.machine.store.length(slot) === expected) continue;
      require(this.machine.unnoticedLosses.has(slot), 'kv-length', () =>
        `slot ${slot} holds ${this.machine.store.length(slot)}, the scheduler says ${expected}`);
      this.scheduler.loseSlot(slot);
      this.ledger.forget(slot);
    }
    this.machine.noticed(plan);
  }

  private take(events: readonly SchedulerEvent[], clockMs: number): void {
    for (const event of events) {
      this.logEvent(event);
      if (this.ledger.entries.has(event.sequenceId)) {
        for (const invariant of this.invariants) invariant.event?.(event, clockMs);
      }
      this.ledger.take(event, clockMs);
      this.undelivered.push(event);
    }
  }

  private deliver(): void {
    const events = this.undelivered;
    this.undelivered = [];
    for (const event of events) this.clients.deliver(event);
  }

  private sleep(): boolean {
    for (const invariant of this.invariants) invariant.asleep?.();
    this.idleTurns = 0;
    if (this.timeline.isEmpty) return false;
    if (!this.isCalm || this.undelivered.length > 0) {
      this.timeline.runNext();
      return true;
    }
    return false;
  }

  private faultsOf(tick: number): Fault[] {
    const kept = drawFaults(this.scenario, tick).filter(
      ({ kind }) => this.options.keepFault?.(`${tick}:${kind}`) ?? true,
    );
    for (const { kind } of kept) {
      this.faults.push(`${tick}:${kind}`);
      this.log.add(this.timeline.nowMs, 'fault', [tick, kind]);
    }
    return kept;
  }

  submit(specs: readonly SequenceSpec[]): boolean {
    const before = this.scheduler.stats();
    const nowMs = this.clock.read();
    const rejection = this.scheduler.submit(specs, nowMs);
    for (const { id, prompt, maxTokens, tenant, priorityClass } of specs) {
      this.log.add(this.timeline.nowMs, rejection ? 'refused' : 'submit', [
        id,
        `${prompt.length}+${maxTokens} tokens`,
        tenant,
        priorityClass,
      ]);
    }
    for (const invariant of this.invariants) invariant.submitted?.(specs, rejection, before);
    if (rejection) return false;
    this.ledger.admit(specs, nowMs);
    return true;
  }

  cancel(sequenceId: number): void {
    this.log.add(this.timeline.nowMs, 'cancel', [sequenceId]);
    this.countLeaving(sequenceId);
    this.ledger.wish(sequenceId, 'cancelled');
    this.scheduler.cancel(sequenceId);
  }

  finish(sequenceId: number): void {
    this.log.add(this.timeline.nowMs, 'stop-string', [sequenceId]);
    this.ledger.wish(sequenceId, 'stop');
    this.scheduler.finish(sequenceId);
  }

  clockMs(): number {
    return this.clock.read();
  }

  private countLeaving(sequenceId: number): void {
    const entry = this.ledger.entries.get(sequenceId);
    if (!entry || entry.state === 'finished') return;
    const isInFlight = this.inFlight?.rows.some((row) => row.sequenceId === sequenceId) ?? false;
    if (isInFlight) this.leavings['in-flight'] += 1;
    if (entry.state === 'waiting') this.leavings[entry.startRank < 0 ? 'waiting' : 'preempted'] += 1;
    else this.leavings[entry.delivered === 0 ? 'prefilling' : 'decoding'] += 1;
  }

  private logPlan({ tick, rows, operations, work }: TickPlan): void {
    const shape: number[] = [];
    for (const { slot, firstPosition, tokens } of rows) shape.push(slot, firstPosition, tokens.length);
    this.log.add(this.timeline.nowMs, 'plan', [tick, work.passes, operations.length, ...shape], () => [
      tick,
      `${work.passes} passes:`,
      ...rows.map((row) => `${row.slot}@${row.firstPosition}+${row.tokens.length}`),
      ...operations.map((operation) => JSON.stringify(operation)),
    ]);
  }

  private logResult(result: TickResult): void {
    const { outcome } = result;
    if (outcome === 'decoded') this.log.add(this.timeline.nowMs, outcome, result.sampledTokens);
    else
      this.log.add(this.timeline.nowMs, outcome, [
        outcome === 'failed' ? result.message : result.slots.join(' '),
      ]);
  }

  private logEvent(event: SchedulerEvent): void {
    this.log.add(this.timeline.nowMs, event.type, valuesOf(event), () =>
      Object.entries(event).flatMap(([name, value]) => (name === 'type' ? [] : [`${name}=${value ?? ''}`])),
    );
  }
}

/** @returns what happened; a violated invariant is part of the report, never thrown */
export function simulate(scenario: Scenario, options: SimulationOptions): SimulationReport {
  return new Simulation(scenario, options).run();
}

/** Once per token: no copying of objects. */
function valuesOf(event: SchedulerEvent): (number | string)[] {
  switch (event.type) {
    case 'started':
      return [event.sequenceId, event.slot, event.waitMs];
    case 'token':
      return [event.sequenceId, event.token, event.index];
    default:
      return [event.sequenceId, ...Object.values(event).map((value: number | string | null) => value ?? '')];
  }
}
