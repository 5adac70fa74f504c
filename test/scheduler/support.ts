import type { CostCoefficients } from '../../scheduler/cost-model.js';
import type {
  SchedulerConfig,
  SchedulerEvent,
  SchedulingPolicy,
  SequenceSpec,
  TickPlan,
  TickWork,
} from '../../scheduler/index.js';
import { throughputFirst } from '../../scheduler/policy.js';
import { Scheduler } from '../../scheduler/scheduler.js';

export const endToken = 99;

export function makeScheduler(
  config: Partial<SchedulerConfig> = {},
  policy: Partial<SchedulingPolicy> = {},
): Scheduler {
  return new Scheduler(
    {
      slotCount: 4,
      contextTokens: 64,
      batchTokens: 16,
      maxWaiting: 8,
      maxWaitingTokens: 400,
      endTokens: new Set([endToken]),
      ...config,
    },
    { ...throughputFirst, ...policy },
  );
}

/** A leftover token costs four. */
export const dearLeftovers: CostCoefficients = {
  perPassMs: 5,
  perTokenMs: 1,
  perSampledRowMs: 0.5,
  perAttendedTokenMs: 0,
  perLeftoverTokenMs: 4,
};

/** Rows of one token each. */
const decoding = (rows: number, passes = 1) => {
  return { passes, tokens: rows, sampledRows: rows, attendedTokens: rows };
};
export const decodeShapes = [decoding(1), decoding(8), decoding(4, 4), decoding(40)];

/** The scheduler learns what calls of these shapes cost; what a shape does not say is one pass, token and row. */
export function teachCosts(
  scheduler: Scheduler,
  shapes: readonly Partial<TickWork>[],
  msOf: (work: TickWork) => number,
): void {
  const least = { passes: 1, tokens: 1, sampledRows: 1, attendedTokens: 0, leftoverTokens: 0 };
  for (let round = 0; round < 32; round += 1) {
    for (const shape of shapes) {
      const work = { ...least, ...shape };
      scheduler.costs.observe(work, 1, msOf(work));
    }
  }
}

export function spec(id: number, overrides: Partial<SequenceSpec> = {}): SequenceSpec {
  return {
    id,
    prompt: Uint32Array.of(id, id + 1, id + 2),
    maxTokens: 4,
    ignoreEndToken: false,
    priorityClass: 'interactive',
    tenant: 'anonymous',
    cacheSalt: '',
    deadlineMs: null,
    ...overrides,
  };
}

/** A prompt of `length` tokens starting at `first`. */
export function prompt(length: number, first = 1): Uint32Array {
  return Uint32Array.from({ length }, (_, index) => first + index);
}

export function planOf(scheduler: Scheduler, nowMs = 0): TickPlan {
  const { plan } = scheduler.planTick(nowMs);
  if (!plan) throw new Error('nothing was planned');
  return plan;
}

/** Answers every sampled row with `token`. */
export function decoded(plan: TickPlan, token: number | ((sequenceId: number) => number) = 7) {
  const sampledTokens = plan.rows.map((row) => {
    if (!row.sample) return -1;
    return typeof token === 'number' ? token : token(row.sequenceId);
  });
  return { outcome: 'decoded', sampledTokens, decodeMs: 1 } as const;
}

/** Plans and decodes until nothing is left. */
export function runToEnd(
  scheduler: Scheduler,
  token: number | ((sequenceId: number) => number) = 7,
): SchedulerEvent[] {
  const all: SchedulerEvent[] = [];
  for (let tick = 0; scheduler.hasWork; tick += 1) {
    if (tick > 10_000) throw new Error('the scheduler never ends');
    const { plan, events } = scheduler.planTick(tick);
    all.push(...events);
    if (plan) all.push(...scheduler.applyTick(decoded(plan, token)));
  }
  return all;
}

export function finishReasons(events: readonly SchedulerEvent[]): Map<number, string> {
  const finished = events.filter((event) => event.type === 'finished');
  return new Map(finished.map((event) => [event.sequenceId, event.reason]));
}
