import type { Scheduler, SchedulerEvent } from '../../scheduler/index.js';
import type { Engine } from '../engine/engine.js';
import type { ServingObserver } from '../metrics/serving-observer.js';

export interface TickLoopOptions {
  scheduler: Scheduler;
  engine: Engine;
  /** Text work, sockets, samplers: runs in the shadow of a decode call, or at once when nothing is left to decode. */
  deliver: (events: readonly SchedulerEvent[]) => void;
  observer: ServingObserver;
  nowMs: () => number;
}

/** Plans, decodes, applies, again and again; the only place that awaits the engine. Sleeps when there is no work. */
export class TickLoop {
  private readonly options: TickLoopOptions;
  private wakeUp: (() => void) | null = null;
  private stopping = false;

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
    const { scheduler, engine, deliver, observer, nowMs } = this.options;
    let undelivered: SchedulerEvent[] = [];
    let endedMs = nowMs();
    while (!this.stopping) {
      const { plan, events } = scheduler.planTick(nowMs());
      const toDeliver = [...undelivered, ...events];
      undelivered = [];
      if (!plan) {
        deliver(toDeliver);
        if (!scheduler.hasWork) await this.sleep();
        endedMs = nowMs();
        continue;
      }
      const running = engine.run(plan);
      deliver(toDeliver);
      const { result, timings } = await running;
      undelivered = scheduler.applyTick(result);
      this.verifySlots(plan.rows.map((row) => row.slot));
      const startedMs = endedMs;
      endedMs = nowMs();
      observer.tick({
        rows: plan.rows.length,
        passes: plan.work.passes,
        tokens: plan.work.tokens,
        ...timings,
        javascriptMs: Math.max(0, endedMs - startedMs - timings.decodeMs - timings.samplingMs),
      });
    }
    deliver(undelivered);
  }

  /** The scheduler's account and the engine's KV must not drift apart. */
  private verifySlots(slots: readonly number[]): void {
    const { scheduler, engine } = this.options;
    const expected = scheduler.slotTokens();
    for (const slot of slots) {
      if (expected[slot] !== null && engine.slotTokens(slot) !== expected[slot]) scheduler.loseSlot(slot);
    }
  }

  private sleep(): Promise<void> {
    return new Promise((resolve) => {
      this.wakeUp = resolve;
    });
  }
}
