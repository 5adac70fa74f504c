import {
  type Rejection,
  Scheduler,
  type SchedulerEvent,
  type SequenceSpec,
} from '../../../scheduler/index.js';
import type { SchedulerUnderTest } from '../invariants/invariant.js';
import { SimulatedMachine } from '../machine.js';
import type { Scenario } from '../scenario.js';
import type { CreateScheduler } from '../simulation.js';
import type { Timeline } from '../timeline.js';
import { require } from '../violation.js';

/** More turns without a call than this, while there is said to be work, is a busy loop. */
const mostIdleTurns = 4;

export interface WorkerEngineOptions {
  scenario: Scenario;
  timeline: Timeline;
  createScheduler: CreateScheduler | undefined;
  /** Guards what happens later: the process may be gone by then. */
  alive: (action: () => void) => () => void;
  onEvent: (event: SchedulerEvent) => void;
  onTick: () => void;
}

/** One worker's real scheduler and its simulated machine, tick by tick. */
export class WorkerEngine {
  readonly scheduler: SchedulerUnderTest;
  private readonly options: WorkerEngineOptions;
  private readonly machine: SimulatedMachine;
  private readonly salts = new Map<number, string>();
  private undelivered: SchedulerEvent[] = [];
  private isTurning = false;
  private idleTurns = 0;

  constructor(options: WorkerEngineOptions) {
    const { scenario, createScheduler } = options;
    this.options = options;
    const { config, policy } = scenario;
    this.scheduler = createScheduler?.(config, policy) ?? new Scheduler(config, policy);
    this.machine = new SimulatedMachine(scenario, (id) => this.salts.get(id) ?? '');
  }

  submit(specs: readonly SequenceSpec[]): Rejection | null {
    for (const { id, cacheSalt } of specs) this.salts.set(id, cacheSalt);
    const rejection = this.scheduler.submit(specs, this.options.timeline.nowMs);
    if (!rejection) this.wake();
    return rejection;
  }

  cancel(sequenceId: number): void {
    this.scheduler.cancel(sequenceId);
    this.wake();
  }

  private wake(): void {
    if (this.isTurning) return;
    this.isTurning = true;
    this.later(0, () => this.turn());
  }

  private later(delayMs: number, action: () => void): void {
    this.options.timeline.after(delayMs, this.options.alive(action));
  }

  private turn(): void {
    const { timeline, onTick } = this.options;
    const { plan, holdMs, events } = this.scheduler.planTick(timeline.nowMs);
    const before = [...this.undelivered, ...events];
    this.undelivered = [];
    if (plan === null) {
      this.deliver(before);
      this.isTurning = this.scheduler.hasWork;
      if (!this.isTurning) return;
      if (holdMs === 0) this.idleTurns += 1;
      require(this.idleTurns <= mostIdleTurns, 'liveness', () => 'there is work, but nothing is planned');
      this.later(holdMs, () => this.turn());
      return;
    }
    this.idleTurns = 0;
    onTick();
    const { saves, lost } = this.machine.applyOperations(plan, []);
    require(lost.length === 0, 'scheduler-assertion', () => `slots ${lost} could not be brought into shape`);
    const outcome = this.machine.decode(plan, []);
    require(outcome.outcome === 'decoded', 'scheduler-assertion', () => JSON.stringify(outcome));
    const durationMs = this.machine.durationMs(plan, []);
    this.deliver(before);
    this.later(durationMs, () => {
      this.undelivered = this.scheduler.applyTick({ ...outcome, saves, decodeMs: durationMs });
      this.turn();
    });
  }

  private deliver(events: readonly SchedulerEvent[]): void {
    for (const event of events) this.options.onEvent(event);
  }
}
