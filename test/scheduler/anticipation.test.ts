import { describe, expect, it } from 'vitest';
import { holdShare, longestHoldMs } from '../../scheduler/anticipation.js';
import type { Scheduler } from '../../scheduler/scheduler.js';
import { decoded, makeScheduler, planOf, spec } from './support.js';

const callMs = 100;

/** One sequence that goes on, in a scheduler that minds its gaps. */
function withReader(itlTargetMs: number | null = null): Scheduler {
  const scheduler = makeScheduler({ contextTokens: 2_000, maxWaiting: 8 }, { itlTargetMs });
  scheduler.submit([spec(1, { maxTokens: 1_900 })], 0);
  scheduler.applyTick({ ...decoded(planOf(scheduler)), decodeMs: callMs });
  return scheduler;
}

/** @returns who has ended */
function planAndApply(scheduler: Scheduler, nowMs: number): number[] {
  const events = scheduler.applyTick({ ...decoded(planOf(scheduler, nowMs)), decodeMs: callMs });
  return events.filter(({ type }) => type === 'finished').map(({ sequenceId }) => sequenceId);
}

/** A sequence of two tokens comes and is answered. */
function answer(scheduler: Scheduler, id: number, nowMs: number): void {
  scheduler.submit([spec(id, { maxTokens: 2 })], nowMs);
  while (!planAndApply(scheduler, nowMs + callMs).includes(id));
}

const heldAfter = (scheduler: Scheduler, nowMs: number) => scheduler.planTick(nowMs).holdMs;

/** One tick. @returns whether it was held */
function tick(scheduler: Scheduler, nowMs: number): boolean {
  const { plan, holdMs } = scheduler.planTick(nowMs);
  scheduler.applyTick({ ...decoded(plan ?? planOf(scheduler, nowMs + holdMs)), decodeMs: callMs });
  return holdMs > 0;
}

/** Ends that nobody follows. @returns how many of them were held for */
function unfollowed(scheduler: Scheduler, ends: number, firstId: number): number {
  let held = 0;
  for (let id = firstId; id < firstId + ends; id += 1) {
    answer(scheduler, id, 10_000 * id);
    if (tick(scheduler, 10_000 * id + 500)) held += 1;
  }
  return held;
}

describe('a call after an answer', () => {
  it('is held for whoever follows, for a share of the call before, and begins with them', () => {
    const scheduler = withReader();
    answer(scheduler, 2, 1_000);
    expect(heldAfter(scheduler, 2_000)).toBeCloseTo(holdShare * callMs);
    expect(heldAfter(scheduler, 2_004)).toBeCloseTo(holdShare * callMs - 4);
    scheduler.submit([spec(3)], 2_005);
    expect(planOf(scheduler, 2_005).rows.map(({ sequenceId }) => sequenceId)).toEqual([3]);
  });

  it('begins without them when they do not come in time', () => {
    const scheduler = withReader();
    answer(scheduler, 2, 1_000);
    expect(heldAfter(scheduler, 2_000)).toBeGreaterThan(0);
    expect(planOf(scheduler, 2_000 + holdShare * callMs).rows).toHaveLength(1);
  });

  it('waits for as many as were answered', () => {
    const scheduler = withReader();
    scheduler.submit([spec(2, { maxTokens: 1 }), spec(3, { maxTokens: 1 })], 0);
    scheduler.applyTick({ ...decoded(planOf(scheduler)), decodeMs: callMs });
    expect(heldAfter(scheduler, 1_000)).toBeGreaterThan(0);
    scheduler.submit([spec(4)], 1_001);
    expect(heldAfter(scheduler, 1_001)).toBeGreaterThan(0);
    scheduler.submit([spec(5)], 1_002);
    expect(heldAfter(scheduler, 1_002)).toBe(0);
  });

  it('is not held for longer than the limit, however long calls take', () => {
    const scheduler = withReader();
    scheduler.submit([spec(2, { maxTokens: 1 })], 0);
    scheduler.applyTick({ ...decoded(planOf(scheduler)), decodeMs: 60_000 });
    expect(heldAfter(scheduler, 1_000)).toBe(longestHoldMs);
  });
});

describe('no call is held', () => {
  it('when throughput comes first', () => {
    const scheduler = withReader(0);
    answer(scheduler, 2, 1_000);
    expect(heldAfter(scheduler, 2_000)).toBe(0);
  });

  it('for those who left', () => {
    const scheduler = withReader();
    scheduler.submit([spec(2)], 0);
    const plan = planOf(scheduler);
    scheduler.cancel(2);
    scheduler.applyTick({ ...decoded(plan), decodeMs: callMs });
    expect(heldAfter(scheduler, 2_000)).toBe(0);
  });

  it('while others wait in line, or when nobody is left', () => {
    const scheduler = withReader();
    const others = [2, 3, 4, 5].map((id) => spec(id, { maxTokens: 1 }));
    scheduler.submit(others, 0);
    scheduler.applyTick({ ...decoded(planOf(scheduler)), decodeMs: callMs });
    expect(heldAfter(scheduler, 1_000)).toBe(0);
    const alone = makeScheduler({}, { itlTargetMs: null });
    answer(alone, 1, 0);
    expect(alone.planTick(1_000)).toMatchObject({ plan: null, holdMs: 0 });
  });

  it('once it is known that answers are not followed, until they are again', () => {
    const scheduler = withReader();
    expect(unfollowed(scheduler, 20, 2)).toBeGreaterThan(0);
    expect(unfollowed(scheduler, 100, 100)).toBe(0);
    const held: boolean[] = [];
    for (let id = 1_000; id < 1_100; id += 1) {
      scheduler.submit([spec(id, { maxTokens: 1 })], 10_000 * id);
      while (!planAndApply(scheduler, 10_000 * id).includes(id));
      // The next one comes after 2 ms, into the hold or into the call that has begun.
      const { plan } = scheduler.planTick(10_000 * id + 9_998);
      if (plan) scheduler.applyTick({ ...decoded(plan), decodeMs: callMs });
      held.push(plan === null);
    }
    expect(held.indexOf(true)).toBeLessThan(10);
    expect(held.filter((each) => each).length).toBeGreaterThan(90);
  });

  it('more than now and then for those who come a little too late', () => {
    const scheduler = withReader();
    let held = 0;
    for (let id = 2; id < 202; id += 1) {
      scheduler.submit([spec(id, { maxTokens: 1 })], 10_000 * id);
      while (!planAndApply(scheduler, 10_000 * id).includes(id));
      if (tick(scheduler, 10_000 * id + 9_980)) held += 1;
    }
    expect(held).toBeLessThan(70);
  });
});
