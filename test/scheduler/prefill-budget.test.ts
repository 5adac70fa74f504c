import { describe, expect, it } from 'vitest';
import type { SchedulerConfig, SchedulingPolicy, TickWork } from '../../scheduler/index.js';
import { PrefillBudget, type PrefillDemand } from '../../scheduler/prefill-budget.js';
import type { Scheduler } from '../../scheduler/scheduler.js';
import { decoded, makeScheduler, planOf, prompt, spec, teachCosts } from './support.js';

const cost = {
  perPassMs: 5,
  perTokenMs: 1,
  perSampledRowMs: 1,
  perAttendedTokenMs: 0,
  perLeftoverTokenMs: 0,
};
const demand = (overrides: Partial<PrefillDemand> = {}): PrefillDemand => ({
  itlTargetMs: 100,
  decodeMs: 20,
  cost,
  firstPosition: 0,
  pendingTokens: 1_000,
  ...overrides,
});

/** A chunk behind a thousand tokens: each token costs 2 ms by itself, 1.35 in a tile. */
const deep = (overrides: Partial<PrefillDemand> = {}) =>
  demand({ cost: { ...cost, perAttendedTokenMs: 0.001 }, firstPosition: 1_000, ...overrides });

describe('PrefillBudget', () => {
  it('gives what the target leaves after decoding and the pass', () => {
    expect(new PrefillBudget().grant(demand(), 500)).toBe(90 - 20 - 5);
  });

  it('gives the whole batch when nobody decodes, or when throughput comes first', () => {
    expect(new PrefillBudget().grant(demand({ decodeMs: 0 }), 500)).toBe(500);
    expect(new PrefillBudget().grant(demand({ itlTargetMs: 0 }), 500)).toBe(500);
  });

  it('pays for attention to what comes before', () => {
    expect(new PrefillBudget().grant(deep({ itlTargetMs: 200 }), 500)).toBe(
      Math.floor((180 - 20 - 5) / 1.35),
    );
    expect(new PrefillBudget().grant(deep({ itlTargetMs: 100, pendingTokens: 20 }), 500)).toBe(32);
  });

  it('saves up for a tile of attention where half of one would take nearly as long', () => {
    const budget = new PrefillBudget();
    const grants = Array.from({ length: 10 }, () => budget.grant(deep(), 500));
    expect(new Set(grants)).toEqual(new Set([0, 64]));
  });

  it('saves up for a useful chunk when the target leaves too little, and never starves', () => {
    const budget = new PrefillBudget();
    const grants = Array.from({ length: 40 }, () => budget.grant(demand({ decodeMs: 120 }), 500));
    expect(new Set(grants)).toEqual(new Set([0, 32]));
    const chunks = grants.filter((tokens) => tokens > 0).length;
    expect((chunks * (cost.perPassMs + 32 * cost.perTokenMs)) / (40 * 120)).toBeGreaterThan(0.15);
  });

  it('does not wait for a useful chunk when less than that is left to do', () => {
    expect(new PrefillBudget().grant(demand({ decodeMs: 75, pendingTokens: 6 }), 500)).toBe(10);
  });
});

const msOf = ({ passes, tokens }: TickWork) => 5 * passes + tokens;

/** Knows what a machine costs on which a pass takes 5 ms, a token 1 ms. */
function withKnownCosts(config: Partial<SchedulerConfig>, policy: Partial<SchedulingPolicy>): Scheduler {
  const size = { contextTokens: 2_048, batchTokens: 512, maxWaitingTokens: 10_000 };
  const scheduler = makeScheduler({ ...size, ...config }, policy);
  const shapes = [1, 4, 64, 256].map((tokens) => ({ tokens, attendedTokens: tokens ** 2 / 2 }));
  teachCosts(scheduler, shapes, msOf);
  return scheduler;
}

describe('a tick under an ITL target', () => {
  it('keeps running sequences fed while a long prompt comes in piece by piece', () => {
    const scheduler = withKnownCosts({}, { itlTargetMs: 100 });
    scheduler.submit([spec(1, { maxTokens: 100 }), spec(2, { maxTokens: 100 })], 0);
    const run = (plan: ReturnType<typeof planOf>) =>
      scheduler.applyTick({ ...decoded(plan), decodeMs: msOf(plan.work) });
    run(planOf(scheduler));
    scheduler.submit([spec(3, { prompt: prompt(1_200, 1_000) })], 0);
    let gaps = 0;
    for (; ; gaps += 1) {
      const prefill = planOf(scheduler);
      expect(prefill.rows.map(({ sequenceId }) => sequenceId)).toEqual([3]);
      run(prefill);
      const decode = planOf(scheduler);
      expect(decode.rows.slice(0, 2).map((row) => row.tokens.length)).toEqual([1, 1]);
      expect(msOf(prefill.work) + msOf(decode.work)).toBeLessThanOrEqual(110);
      run(decode);
      if (prefill.rows[0]!.sample) break;
    }
    expect(gaps).toBeGreaterThan(12);
    expect(gaps).toBeLessThan(22);
  });

  it('lets prompts that come while others decode or prefill begin right after them', () => {
    const scheduler = withKnownCosts({}, { itlTargetMs: 100 });
    scheduler.submit([spec(1, { maxTokens: 100 })], 0);
    scheduler.applyTick(decoded(planOf(scheduler)));
    const decoding = planOf(scheduler);
    scheduler.submit([spec(2, { prompt: prompt(20, 1_000), maxTokens: 100 })], 0);
    scheduler.applyTick(decoded(decoding));
    const begun = planOf(scheduler);
    scheduler.submit([spec(3, { prompt: prompt(20, 2_000), maxTokens: 100 })], 0);
    scheduler.applyTick(decoded(begun));
    const fed = planOf(scheduler);
    scheduler.applyTick(decoded(fed));
    const riders = [begun, fed, planOf(scheduler)].map(({ rows }) =>
      rows.map(({ sequenceId }) => sequenceId),
    );
    expect(riders).toEqual([[2], [3], [1, 2, 3]]);
  });

  describe('that is automatic', () => {
    /** Tokens of the prompts in the first tick that has them, next to two rows that decode. */
    const chunksOf = (lengths: readonly number[], itlTargetMs: number | null) => {
      const scheduler = withKnownCosts({ slotCount: 32, contextTokens: 1_024 }, { itlTargetMs });
      scheduler.submit([spec(1, { maxTokens: 100 }), spec(2, { maxTokens: 100 })], 0);
      scheduler.applyTick({ ...decoded(planOf(scheduler)), decodeMs: 11 });
      const prompts = lengths.map((length, index) =>
        spec(3 + index, { prompt: prompt(length, 1_000 * (index + 1)) }),
      );
      scheduler.submit(prompts, 0);
      const chunks = planOf(scheduler).rows.map(({ tokens }) => tokens.length);
      return { chunks, targetMs: scheduler.itlTargetMs };
    };

    it('short prompts are finished within twice the target, and none of them is cut', () => {
      expect(chunksOf([45, 45], null).chunks).toEqual([45, 45]);
      expect(chunksOf([45, 45, 45, 45, 45], null).chunks.filter((tokens) => tokens > 1)).toEqual([45, 45]);
    });

    it('a long prompt keeps to the target, and so does everyone when somebody gave it', () => {
      const { chunks, targetMs } = chunksOf([600], null);
      expect(chunks[0]).toBeLessThan(0.9 * targetMs);
      expect(chunksOf([45, 45], targetMs).chunks).toEqual([45]);
    });
  });

  describe('and TTFT targets by class', () => {
    const ttftTargetsMs = { interactive: 1_000, standard: 4_000, batch: 100_000 };
    const schedulerWith = (decoding: boolean) => {
      const scheduler = withKnownCosts({}, { itlTargetMs: 100, ttftTargetsMs });
      if (!decoding) return scheduler;
      scheduler.submit([spec(1, { maxTokens: 100 })], 0);
      scheduler.applyTick({ ...decoded(planOf(scheduler)), decodeMs: 8 });
      return scheduler;
    };
    /** Prompt tokens of the first tick that takes place so long after a prompt of 1,000 tokens has come. */
    const chunkAfter = (waitMs: number, priorityClass: 'interactive' | 'standard') => {
      const scheduler = schedulerWith(true);
      scheduler.submit([spec(2, { prompt: prompt(1_000, 1_000), priorityClass })], 0);
      return planOf(scheduler, waitMs).rows[0]!.tokens.length;
    };

    it('a late first token buys prefill more than the ITL target', () => {
      const inTime = chunkAfter(1_000, 'interactive');
      expect(chunkAfter(0, 'interactive')).toBe(inTime);
      expect(chunkAfter(1_500, 'interactive')).toBeGreaterThan(1.2 * inTime);
      const late = chunkAfter(2_000, 'interactive');
      expect(late).toBeGreaterThan(1.5 * inTime);
      expect(chunkAfter(50_000, 'interactive')).toBe(late);
    });

    it('each class has its own target', () => {
      expect(chunkAfter(4_000, 'standard')).toBe(chunkAfter(0, 'standard'));
      expect(chunkAfter(4_000, 'interactive')).toBeGreaterThan(chunkAfter(4_000, 'standard'));
    });

    it('the later one for its class goes first, though the other one is shorter', () => {
      const scheduler = schedulerWith(false);
      scheduler.submit([spec(1, { prompt: prompt(550), priorityClass: 'batch' })], 0);
      scheduler.submit([spec(2, { prompt: prompt(600, 700), priorityClass: 'interactive' })], 0);
      const { rows } = planOf(scheduler, 5_000);
      expect(rows.map(({ sequenceId }) => sequenceId)).toEqual([2]);
    });
  });

  it('prefills short prompts first, but never for ever', () => {
    const size = { slotCount: 3, contextTokens: 2_048, batchTokens: 64, maxWaitingTokens: 10_000 };
    const scheduler = makeScheduler(size);
    scheduler.submit([spec(1, { prompt: prompt(600) })], 0);
    scheduler.submit([spec(2, { prompt: prompt(20, 700), maxTokens: 1 })], 0);
    const first = planOf(scheduler, 100);
    expect(first.rows.find((row) => row.sequenceId === 2)).toMatchObject({ sample: true });
    scheduler.applyTick(decoded(first));
    for (let id = 3, nowMs = 200; ; id += 1, nowMs += 50) {
      expect(nowMs).toBeLessThan(5_000);
      scheduler.submit([spec(id, { prompt: prompt(60, id * 1_000), maxTokens: 1 })], nowMs);
      const plan = planOf(scheduler, nowMs);
      scheduler.applyTick(decoded(plan));
      if (plan.rows.some((row) => row.sequenceId === 1 && row.sample)) break;
    }
  });
});
