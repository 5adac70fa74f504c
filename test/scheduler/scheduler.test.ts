import { describe, expect, it } from 'vitest';
import type { SchedulerEvent } from '../../scheduler/index.js';
import { maxFailedTicks } from '../../scheduler/scheduler.js';
import {
  decoded,
  endToken,
  finishReasons,
  makeScheduler,
  planOf,
  prompt,
  runToEnd,
  spec,
} from './support.js';

describe('life of a sequence', () => {
  it('is prefilled, sampled and ends at its length', () => {
    const scheduler = makeScheduler();
    scheduler.submit([spec(1, { maxTokens: 2 })], 0);
    const prefill = planOf(scheduler);
    expect(prefill.rows).toMatchObject([{ slot: 0, firstPosition: 0, sample: true }]);
    expect([...prefill.rows[0]!.tokens]).toEqual([1, 2, 3]);
    expect(scheduler.applyTick(decoded(prefill, 7))).toEqual([
      { type: 'token', sequenceId: 1, token: 7, index: 0 },
    ]);
    const decode = planOf(scheduler);
    expect([...decode.rows[0]!.tokens]).toEqual([7]);
    expect(decode.rows[0]!.firstPosition).toBe(3);
    const events = scheduler.applyTick(decoded(decode, 8));
    expect(events.at(-1)).toMatchObject({ type: 'finished', reason: 'length', generatedTokens: 2 });
    expect(scheduler.stats()).toMatchObject({ running: 0, waiting: 0, cachedSlots: 1 });
  });

  it('ends on an end token, which is counted but not delivered', () => {
    const scheduler = makeScheduler();
    scheduler.submit([spec(1)], 0);
    const events = scheduler.applyTick(decoded(planOf(scheduler), endToken));
    expect(events).toMatchObject([{ type: 'finished', reason: 'stop', generatedTokens: 1 }]);
  });

  it('treats end tokens as ordinary when told to', () => {
    const scheduler = makeScheduler();
    scheduler.submit([spec(1, { ignoreEndToken: true })], 0);
    const events = runToEnd(scheduler, endToken);
    expect(events.filter((event) => event.type === 'token')).toHaveLength(4);
    expect(finishReasons(events).get(1)).toBe('length');
  });

  it('fills the window to its last position and never leaves it', () => {
    const scheduler = makeScheduler();
    scheduler.submit([spec(1, { prompt: prompt(60), maxTokens: 4 })], 0);
    const events = runToEnd(scheduler);
    expect(events.filter((event) => event.type === 'token')).toHaveLength(4);
  });

  it('ends with an error when no token can be sampled', () => {
    const scheduler = makeScheduler();
    scheduler.submit([spec(1)], 0);
    const events = scheduler.applyTick(decoded(planOf(scheduler), -1));
    expect(events).toMatchObject([{ type: 'finished', reason: 'error' }]);
  });
});

describe('token budget', () => {
  it('cuts a long prompt into chunks and samples only its last', () => {
    const scheduler = makeScheduler();
    scheduler.submit([spec(1, { prompt: prompt(40) })], 0);
    const shapes = [];
    for (let tick = 0; tick < 3; tick += 1) {
      const plan = planOf(scheduler);
      shapes.push([plan.rows[0]!.firstPosition, plan.work.tokens, plan.rows[0]!.sample]);
      scheduler.applyTick(decoded(plan));
    }
    expect(shapes).toEqual([
      [0, 16, false],
      [16, 16, false],
      [32, 8, true],
    ]);
  });

  it('gives decoding sequences their row before any prefill', () => {
    const scheduler = makeScheduler();
    scheduler.submit([spec(1, { maxTokens: 20 }), spec(2, { maxTokens: 20 })], 0);
    scheduler.applyTick(decoded(planOf(scheduler)));
    scheduler.submit([spec(3, { prompt: prompt(40) })], 0);
    const plan = planOf(scheduler);
    expect(plan.rows.map((row) => row.tokens.length)).toEqual([1, 1, 14]);
    expect(plan.work.tokens).toBe(16);
  });

  it('gives the oldest prefill everything before the next one', () => {
    const scheduler = makeScheduler();
    scheduler.submit([spec(1, { prompt: prompt(20) }), spec(2, { prompt: prompt(20, 50) })], 0);
    const first = planOf(scheduler);
    expect(first.rows.map((row) => [row.slot, row.tokens.length])).toEqual([[0, 16]]);
    scheduler.applyTick(decoded(first));
    expect(planOf(scheduler).rows.map((row) => [row.slot, row.tokens.length])).toEqual([
      [0, 4],
      [1, 12],
    ]);
  });
});

describe('prompts of several classes', () => {
  it.each([
    ['of a higher class first, however long others have been here', 1_000, 2],
    ['of a lower class by urgency, once it is late for its own target', 700_000, 1],
  ])('are computed: %s', (_, nowMs, expected) => {
    const scheduler = makeScheduler();
    scheduler.submit([spec(1, { prompt: prompt(40), priorityClass: 'batch' })], 0);
    scheduler.applyTick(decoded(planOf(scheduler)));
    scheduler.submit([spec(2, { prompt: prompt(30, 500) })], nowMs);
    expect(planOf(scheduler, nowMs).rows.map(({ sequenceId }) => sequenceId)).toEqual([expected]);
  });
});

describe('cancelling', () => {
  it.each(['waiting', 'prefilling', 'decoding'])('frees everything at once while %s', (state) => {
    const scheduler = makeScheduler({ slotCount: 1 });
    const [blocker, target] = state === 'waiting' ? [1, 2] : [null, 2];
    if (blocker !== null) scheduler.submit([spec(blocker)], 0);
    scheduler.submit([spec(target, { prompt: prompt(20) })], 0);
    scheduler.applyTick(decoded(planOf(scheduler)));
    if (state === 'decoding') scheduler.applyTick(decoded(planOf(scheduler)));
    const { running, waiting } = scheduler.stats();
    scheduler.cancel(target);
    const after = scheduler.stats();
    expect(after.running + after.waiting).toBe(running + waiting - 1);
    expect(finishReasons(runToEnd(scheduler)).get(target)).toBe('cancelled');
  });

  it('waits for the tick in flight, delivers nothing of it, then frees the slot', () => {
    const scheduler = makeScheduler();
    scheduler.submit([spec(1)], 0);
    const plan = planOf(scheduler);
    scheduler.cancel(1);
    expect(scheduler.stats().running).toBe(1);
    expect(scheduler.applyTick(decoded(plan))).toMatchObject([{ type: 'finished', reason: 'cancelled' }]);
    expect(scheduler.stats().running).toBe(0);
  });

  it('keeps what was computed as reusable cache', () => {
    const scheduler = makeScheduler({ contextTokens: 128 });
    scheduler.submit([spec(1, { prompt: prompt(40) })], 0);
    scheduler.applyTick(decoded(planOf(scheduler)));
    scheduler.applyTick(decoded(planOf(scheduler)));
    scheduler.cancel(1);
    scheduler.submit([spec(2, { prompt: prompt(40) })], 0);
    expect(planOf(scheduler).rows[0]!.firstPosition).toBe(32);
  });

  it('is idempotent and ignores unknown ids', () => {
    const scheduler = makeScheduler();
    scheduler.submit([spec(1)], 0);
    scheduler.cancel(1);
    scheduler.cancel(1);
    scheduler.cancel(77);
    expect(runToEnd(scheduler)).toHaveLength(1);
  });

  it('counts a stop string as stop, even when a cancel follows in the same tick', () => {
    const scheduler = makeScheduler();
    scheduler.submit([spec(1)], 0);
    scheduler.applyTick(decoded(planOf(scheduler)));
    const plan = planOf(scheduler);
    scheduler.finish(1);
    scheduler.cancel(1);
    expect(scheduler.applyTick(decoded(plan))).toMatchObject([{ type: 'finished', reason: 'stop' }]);
  });
});

describe('admission', () => {
  it('counts only what cannot start at once against the line', () => {
    const scheduler = makeScheduler({ slotCount: 2, maxWaiting: 1 });
    expect(scheduler.submit([spec(1), spec(2), spec(3)], 0)).toBeNull();
    expect(scheduler.submit([spec(4)], 0)).toMatchObject({ reason: 'waiting', limit: 1 });
  });

  it('takes all choices of a request or none', () => {
    const scheduler = makeScheduler({ slotCount: 1, maxWaiting: 2 });
    expect(scheduler.submit([spec(1), spec(2), spec(3), spec(4)], 0)).toMatchObject({ reason: 'never' });
    expect(scheduler.stats().waiting).toBe(0);
    scheduler.submit([spec(5), spec(6)], 0);
    expect(scheduler.submit([spec(7), spec(8)], 0)).toMatchObject({ reason: 'waiting' });
    expect(scheduler.stats().waiting).toBe(2);
  });

  it('bounds the prompt tokens in line', () => {
    const scheduler = makeScheduler({ slotCount: 1, maxWaitingTokens: 50 });
    scheduler.submit([spec(1)], 0);
    scheduler.planTick(0);
    expect(scheduler.submit([spec(2, { prompt: prompt(40) })], 0)).toBeNull();
    expect(scheduler.submit([spec(3, { prompt: prompt(11) })], 0)).toMatchObject({
      reason: 'waiting-tokens',
      limit: 50,
    });
  });

  it('refuses what no slot can hold, with both numbers', () => {
    const rejection = makeScheduler().submit([spec(1, { prompt: prompt(61), maxTokens: 4 })], 0);
    expect(rejection).toEqual({ reason: 'window', promptTokens: 61, maxTokens: 4, limit: 64 });
  });

  it('drops a sequence that waits past its deadline, before it costs a token', () => {
    const scheduler = makeScheduler({ slotCount: 1 });
    scheduler.submit([spec(1, { maxTokens: 30 }), spec(2, { deadlineMs: 50 })], 0);
    scheduler.applyTick(decoded(planOf(scheduler, 0)));
    const { plan, events } = scheduler.planTick(50);
    expect(finishReasons(events).get(2)).toBe('expired');
    expect(plan!.rows.map((row) => row.sequenceId)).toEqual([1]);
  });
});

describe('recovery', () => {
  it('computes again what a failed decode call lost, without repeating a token', () => {
    const scheduler = makeScheduler();
    scheduler.submit([spec(1, { maxTokens: 3 })], 0);
    scheduler.applyTick(decoded(planOf(scheduler), 7));
    planOf(scheduler);
    expect(scheduler.applyTick({ outcome: 'failed', message: 'boom' })).toEqual([]);
    const again = planOf(scheduler);
    expect(again.operations).toEqual([{ kind: 'truncate', slot: 0, keepTokens: 0 }]);
    expect([...again.rows[0]!.tokens]).toEqual([1, 2, 3, 7]);
    expect(scheduler.applyTick(decoded(again, 8))).toMatchObject([{ type: 'token', token: 8, index: 1 }]);
  });

  it('gives up after too many failures in a row and frees the slot', () => {
    const scheduler = makeScheduler();
    scheduler.submit([spec(1)], 0);
    let events: SchedulerEvent[] = [];
    for (let attempt = 1; attempt <= maxFailedTicks; attempt += 1) {
      planOf(scheduler);
      events = scheduler.applyTick({ outcome: 'failed', message: 'boom' });
      expect(events).toHaveLength(attempt === maxFailedTicks ? 1 : 0);
    }
    expect(events).toMatchObject([{ type: 'finished', reason: 'error', message: 'boom' }]);
    expect(scheduler.stats()).toMatchObject({ running: 0, cachedSlots: 0, emptySlots: 4 });
  });

  it('starts cold when a slot could not be cut to the shared prefix', () => {
    const scheduler = makeScheduler({ slotCount: 1, batchTokens: 32 });
    const shared = prompt(20);
    scheduler.submit([spec(1, { prompt: shared, maxTokens: 1 })], 0);
    runToEnd(scheduler);
    scheduler.submit(
      [spec(2, { prompt: Uint32Array.of(...shared.slice(0, 18), 500, 501), maxTokens: 1 })],
      0,
    );
    const warm = planOf(scheduler);
    expect(warm.operations).toEqual([{ kind: 'truncate', slot: 0, keepTokens: 18 }]);
    scheduler.applyTick({ outcome: 'slots-lost', slots: [0] });
    const cold = planOf(scheduler);
    expect(cold.operations).toEqual([]);
    expect(cold.rows[0]).toMatchObject({ firstPosition: 0, sample: true });
    expect(scheduler.applyTick(decoded(cold)).at(-1)).toMatchObject({ type: 'finished', cachedTokens: 0 });
  });

  it('recomputes after the engine was found to hold something else', () => {
    const scheduler = makeScheduler();
    scheduler.submit([spec(1)], 0);
    scheduler.applyTick(decoded(planOf(scheduler)));
    scheduler.loseSlot(0);
    const again = planOf(scheduler);
    expect(again.rows[0]).toMatchObject({ firstPosition: 0 });
    expect(again.rows[0]!.tokens).toHaveLength(4);
  });
});

describe('misuse', () => {
  it('is refused by an invariant, not carried into the engine', () => {
    const scheduler = makeScheduler();
    scheduler.submit([spec(1)], 0);
    expect(() => scheduler.submit([spec(1)], 0)).toThrow(/id 1 is taken/);
    scheduler.planTick(0);
    expect(() => scheduler.planTick(0)).toThrow(/in flight/);
    expect(() => scheduler.applyTick({ outcome: 'decoded', sampledTokens: [], decodeMs: 1 })).toThrow(
      /do not match/,
    );
    expect(() => makeScheduler({ slotCount: 257, batchTokens: 512 })).toThrow(/257/);
    expect(() => makeScheduler({ slotCount: 32, batchTokens: 16 })).toThrow(/row per slot/);
  });
});
