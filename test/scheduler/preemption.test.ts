import { describe, expect, it } from 'vitest';
import type { SchedulerEvent, SequenceSpec } from '../../scheduler/index.js';
import { maxPreemptionsPerTick } from '../../scheduler/preemption.js';
import type { Scheduler } from '../../scheduler/scheduler.js';
import { decoded, finishReasons, makeScheduler, planOf, prompt, runToEnd, spec } from './support.js';

const operationCosts = { copyMs: 1, fileMs: 0.001, saveMsPerToken: 1e-5, restoreMsPerToken: 1e-5 };
const parking = { snapshotBytes: 1e9, operationCosts };

/** A batch sequence that shares nothing with the others. */
function batch(id: number, overrides: Partial<SequenceSpec> = {}): SequenceSpec {
  return spec(id, { priorityClass: 'batch', prompt: prompt(6, id * 100), maxTokens: 40, ...overrides });
}

function urgent(id: number, overrides: Partial<SequenceSpec> = {}): SequenceSpec {
  return batch(id, { priorityClass: 'interactive', maxTokens: 3, ...overrides });
}

function ticks(scheduler: Scheduler, count: number, nowMs = 0): SchedulerEvent[] {
  return Array.from({ length: count }, () => {
    const { plan, events } = scheduler.planTick(nowMs);
    return plan ? [...events, ...scheduler.applyTick(decoded(plan))] : events;
  }).flat();
}

const tokensOf = (events: readonly SchedulerEvent[], id: number) =>
  events.filter((event) => event.type === 'token' && event.sequenceId === id);
const victimsOf = (events: readonly SchedulerEvent[]) =>
  events.filter((event) => event.type === 'preempted').map((event) => event.sequenceId);

describe('a sequence of a higher class that finds no free slot', () => {
  it.each([
    ['from a snapshot', parking, 'saved'],
    ['from its tokens', {}, 'left'],
  ] as const)(
    'gets one at once; the victim resumes %s, without losing or repeating a token',
    (_, config, kv) => {
      const scheduler = makeScheduler({ slotCount: 1, ...config });
      scheduler.submit([batch(1)], 0);
      const before = ticks(scheduler, 5);
      scheduler.submit([urgent(2)], 0);
      const after = runToEnd(scheduler);
      expect(after.slice(0, 2)).toMatchObject([
        { type: 'preempted', sequenceId: 1, forSequenceId: 2 },
        { type: 'started', sequenceId: 2, slot: 0 },
      ]);
      expect(after.filter(({ type }) => type === 'resumed')).toMatchObject([{ sequenceId: 1 }]);
      const indexes = tokensOf([...before, ...after], 1).map((event) => (event as { index: number }).index);
      expect(indexes).toEqual(Array.from({ length: 40 }, (_, index) => index));
      expect(finishReasons(after)).toEqual(
        new Map([
          [2, 'length'],
          [1, 'length'],
        ]),
      );
      expect(scheduler.stats().preemptions).toEqual({ saved: 0, left: 0, [kv]: 1 });
      scheduler.checkIntegrity();
    },
  );

  it('goes on from its snapshot with a single token to compute', () => {
    const scheduler = makeScheduler({ slotCount: 1, ...parking });
    scheduler.submit([batch(1)], 0);
    ticks(scheduler, 5);
    scheduler.submit([urgent(2, { maxTokens: 1 })], 0);
    const saving = planOf(scheduler);
    expect(saving.operations).toMatchObject([
      { kind: 'save', slot: 0 },
      { kind: 'truncate', keepTokens: 0 },
    ]);
    scheduler.applyTick({ ...decoded(saving), saves: [{ snapshotId: 1, bytes: 100 }] });
    const plan = planOf(scheduler);
    expect(plan.operations).toEqual([{ kind: 'restore', slot: 0, snapshotId: 1, keepTokens: 10 }]);
    expect(plan.rows).toMatchObject([{ sequenceId: 1, firstPosition: 10, sample: true }]);
  });

  it('computes the victim again when its snapshot could not be saved', () => {
    const scheduler = makeScheduler({ slotCount: 1, ...parking });
    scheduler.submit([batch(1)], 0);
    ticks(scheduler, 5);
    scheduler.submit([urgent(2, { maxTokens: 1 })], 0);
    const saving = planOf(scheduler);
    scheduler.applyTick({ ...decoded(saving), saves: [{ snapshotId: 1, bytes: null }] });
    expect(planOf(scheduler).rows).toMatchObject([{ sequenceId: 1, firstPosition: 0, sample: true }]);
  });

  it('displaces the lowest class, of it the one with the fewest tokens, of those the youngest', () => {
    const scheduler = makeScheduler({ slotCount: 4 });
    scheduler.submit([batch(1, { prompt: prompt(3, 100) }), batch(2), batch(3)], 0);
    scheduler.submit([batch(4, { priorityClass: 'standard', prompt: prompt(2, 400) })], 0);
    ticks(scheduler, 2);
    scheduler.submit([urgent(5, { maxTokens: 40 })], 0);
    expect(victimsOf(ticks(scheduler, 1))).toEqual([1]);
    scheduler.submit([urgent(6, { maxTokens: 40 })], 0);
    expect(victimsOf(ticks(scheduler, 1))).toEqual([3]);
    scheduler.submit([batch(7, { priorityClass: 'standard' })], 0);
    expect(victimsOf(ticks(scheduler, 1))).toEqual([2]);
    scheduler.submit([batch(8, { priorityClass: 'standard' })], 0);
    expect(victimsOf(ticks(scheduler, 1))).toEqual([]);
  });

  it('never displaces its own class, however long it waits', () => {
    const scheduler = makeScheduler({ slotCount: 1 });
    scheduler.submit([urgent(1, { maxTokens: 40 }), urgent(2)], 0);
    expect(victimsOf(ticks(scheduler, 20, 1e9))).toEqual([]);
  });

  it('comes in over several ticks when there are many', () => {
    const scheduler = makeScheduler({ slotCount: 6, batchTokens: 64, maxWaiting: 20 });
    scheduler.submit(
      [1, 2, 3, 4, 5, 6].map((id) => batch(id)),
      0,
    );
    ticks(scheduler, 2);
    scheduler.submit(
      [11, 12, 13, 14, 15, 16].map((id) => urgent(id, { maxTokens: 40 })),
      0,
    );
    expect(victimsOf(ticks(scheduler, 1))).toHaveLength(maxPreemptionsPerTick);
    expect(victimsOf(ticks(scheduler, 1))).toHaveLength(2);
  });
});

describe('a preempted sequence', () => {
  /** One slot; something urgent for it comes in every other tick. */
  function underFire(scheduler: Scheduler, rounds: number): SchedulerEvent[] {
    const events: SchedulerEvent[] = [];
    for (let id = 100; id < 100 + rounds; id += 1) {
      scheduler.submit([urgent(id, { maxTokens: 1, prompt: prompt(4, id) })], 0);
      events.push(...ticks(scheduler, 2));
    }
    return events;
  }

  it('stays after each preemption until it has generated twice as much as after the one before', () => {
    const scheduler = makeScheduler({ slotCount: 1, maxWaiting: 200, ...parking });
    scheduler.submit([batch(1)], 0);
    ticks(scheduler, 1);
    const events = [...underFire(scheduler, 60), ...runToEnd(scheduler)];
    const stays = events
      .map((event, index) => ({ event, index }))
      .filter(({ event }) => event.type === 'preempted')
      .map(({ index }) => tokensOf(events.slice(0, index), 1).length);
    const gained = stays.slice(1).map((tokens, index) => tokens - stays[index]!);
    expect(gained).toEqual([8, 16]);
    expect(tokensOf(events, 1)).toHaveLength(39);
    expect(finishReasons(events).get(1)).toBe('length');
  });

  it('goes before those of its tenant that came later, and does not expire', () => {
    const scheduler = makeScheduler({ slotCount: 2 });
    scheduler.submit([batch(1, { deadlineMs: 50 }), batch(2, { deadlineMs: 50 }), batch(3)], 0);
    ticks(scheduler, 2);
    scheduler.submit([urgent(4), urgent(5)], 0);
    const events = [...ticks(scheduler, 4, 60), ...runToEnd(scheduler)];
    expect(victimsOf(events)).toEqual([2, 1]);
    const order = events.filter(({ type }) => type === 'resumed' || type === 'started');
    expect(order.map(({ sequenceId }) => sequenceId)).toEqual([4, 5, 1, 2, 3]);
    expect([...finishReasons(events).values()]).toEqual(Array(5).fill('length'));
  });

  it('comes back at once when nobody else decodes, whatever else the tick has to bring and save', () => {
    const slowFiles = { copyMs: 1, fileMs: 13, saveMsPerToken: 0, restoreMsPerToken: 0 };
    const size = { slotCount: 1, contextTokens: 512, batchTokens: 512, maxWaitingTokens: 2000 };
    const snapshots = { ...parking, snapshotBytesPerToken: 1, operationCosts: slowFiles };
    const scheduler = makeScheduler({ ...size, ...snapshots });
    const tick = () => {
      const plan = planOf(scheduler);
      scheduler.applyTick({ ...decoded(plan), decodeMs: plan.work.tokens });
      return plan;
    };
    scheduler.submit([batch(1, { prompt: prompt(300, 1000) })], 0);
    tick();
    scheduler.submit([urgent(2, { prompt: prompt(300, 2000), maxTokens: 1 })], 0);
    tick();
    const { operations } = tick();
    expect(operations.map(({ kind }) => kind)).toEqual(['save', 'restore']);
  });

  it('leaves the line when its client does', () => {
    const scheduler = makeScheduler({ slotCount: 1, ...parking });
    scheduler.submit([batch(1)], 0);
    ticks(scheduler, 3);
    scheduler.submit([urgent(2)], 0);
    ticks(scheduler, 1);
    scheduler.cancel(1);
    const events = runToEnd(scheduler);
    expect(events[0]).toMatchObject({
      type: 'finished',
      sequenceId: 1,
      reason: 'cancelled',
      generatedTokens: 3,
    });
    expect(scheduler.stats()).toMatchObject({ running: 0, waiting: 0, waitingTokens: 0 });
    scheduler.checkIntegrity();
  });
});
