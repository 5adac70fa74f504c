import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Scheduler, SchedulerEvent, TickPlan } from '../../scheduler/index.js';
import type { Engine, TickTimings, TokenListener } from '../engine/engine.js';
import type { ServingObserver } from '../metrics/serving-observer.js';
import type { TickTrace } from './tick-trace.js';

export interface TickLoopOptions {
  scheduler: Scheduler;
  engine: Engine;
  /** Beginnings and ends: runs in the shadow of a decode call, or at once when nothing is to be decoded yet. */
  deliver: (events: readonly SchedulerEvent[]) => void;
  /** Text work and sockets: runs while the rows after it are sampled, before the scheduler knows the token. */
  deliverToken: TokenListener;
  observer: ServingObserver;
  trace: TickTrace;
  nowMs: () => number;
}

/** Plans, decodes, applies, again and again; the only place that awaits the engine. Sleeps when there is no work. */
export class TickLoop {
  private readonly options: TickLoopOptions;
  private wakeUp: (() => void) | null = null;
  private stopping = false;
  private undelivered: SchedulerEvent[] = [];
  /** When the tick before ended, or when there was work again. */
  private startedMs = 0;

  constructor(options: TickLoopOptions) {
    this.options = options;
  }

  /** There may be work. */
  wake(): void {
    this.wakeUp?.();
    this.wakeUp = null;
  }

  /** `run` returns after the tick in flight. */
  stop(): void {
    this.stopping = true;
    this.wake();
  }

  /** @throws whatever breaks an invariant of the scheduler or the engine */
  async run(): Promise<void> {
    const { scheduler, deliver, nowMs } = this.options;
    this.startedMs = nowMs();
    while (!this.stopping) {
      const { plan, holdMs, events } = scheduler.planTick(nowMs());
      this.undelivered.push(...events);
      if (plan) {
        await this.tick(plan);
        continue;
      }
      deliver(this.takeUndelivered());
      if (holdMs > 0) await this.hold(holdMs);
      // Never spin: whatever the scheduler waits for, timers and sockets must get their turn.
      else await (scheduler.hasWork ? nextTurn() : this.sleep());
      this.startedMs = nowMs();
    }
    deliver(this.takeUndelivered());
  }

  private async tick(plan: TickPlan): Promise<void> {
    const { scheduler, engine, deliver, deliverToken, nowMs } = this.options;
    const plannedMs = nowMs();
    const text = { startedMs: Number.POSITIVE_INFINITY, endedMs: 0 };
    const running = engine.run(plan, (sequenceId, token) => {
      text.startedMs = Math.min(text.startedMs, nowMs());
      deliverToken(sequenceId, token);
      text.endedMs = nowMs();
    });
    const decodingMs = nowMs();
    deliver(this.takeUndelivered());
    const deliveredMs = nowMs();
    const { result, timings } = await running;
    const computedMs = nowMs();
    this.undelivered = scheduler.applyTick(result);
    this.verifySlots(plan);
    const endedMs = nowMs();
    this.report(plan, timings, endedMs);
    const { trace } = this.options;
    trace.span('plan', 'javascript', this.startedMs, plannedMs);
    trace.span('build rows', 'javascript', plannedMs, decodingMs);
    trace.span('begin and end', 'javascript', decodingMs, deliveredMs);
    if (text.endedMs > 0) trace.span('text and sockets', 'javascript', text.startedMs, text.endedMs);
    trace.span('decode', 'native', decodingMs, computedMs - timings.samplingMs, {
      ...plan.work,
      threads: plan.threads,
    });
    trace.span('sample', 'native', computedMs - timings.samplingMs, computedMs);
    trace.span('apply', 'javascript', computedMs, endedMs);
    trace.tickEnded();
    this.startedMs = endedMs;
  }

  private report(
    { rows, work, threads }: TickPlan,
    { decodeMs, samplingMs, operations = [] }: TickTimings,
    endedMs: number,
  ): void {
    const operationsMs = operations.reduce((sum, { ms }) => sum + ms, 0);
    const javascriptMs = Math.max(0, endedMs - this.startedMs - operationsMs - decodeMs - samplingMs);
    for (const operation of operations) this.options.observer.slotOperation(operation);
    const { passes, tokens } = work;
    this.options.observer.tick({
      rows: rows.length,
      passes,
      tokens,
      threads,
      decodeMs,
      samplingMs,
      javascriptMs,
    });
  }

  /** The scheduler's account and the engine's KV must not drift apart. */
  private verifySlots({ rows }: TickPlan): void {
    const { scheduler, engine, observer } = this.options;
    const expected = scheduler.slotTokens();
    for (const { slot } of rows) {
      if (expected[slot] === null || engine.slotTokens(slot) === expected[slot]) continue;
      scheduler.loseSlot(slot);
      observer.slotMismatch();
    }
  }

  private takeUndelivered(): SchedulerEvent[] {
    const events = this.undelivered;
    this.undelivered = [];
    return events;
  }

  /** Until there may be work, but no longer than this. */
  private async hold(longestMs: number): Promise<void> {
    const timer = setTimeout(() => this.wake(), longestMs);
    await this.sleep();
    clearTimeout(timer);
    const { observer, trace, nowMs } = this.options;
    const endedMs = nowMs();
    observer.held(endedMs - this.startedMs);
    trace.span('hold', 'javascript', this.startedMs, endedMs);
  }

  private sleep(): Promise<void> {
    return new Promise((resolve) => {
      this.wakeUp = resolve;
    });
  }
}
