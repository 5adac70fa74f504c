import { describe, expect, it } from 'vitest';
import type { TickPlan, TickWork } from '../../scheduler/index.js';
import { decoded, decodeShapes, makeScheduler, planOf, prompt, spec, teachCosts } from './support.js';

/** Tokens are dear: fillers do not pay, moves do. */
const decodeMsOf = ({ passes, tokens }: TickWork) => 5 * passes + 4 * tokens;

/** Sequences 1 to 8 in slots 0 to 7, all decoding. */
function eightDecoding() {
  const scheduler = makeScheduler({ slotCount: 8, contextTokens: 256, batchTokens: 64, maxWaiting: 20 });
  teachCosts(scheduler, decodeShapes, decodeMsOf);
  const specs = [1, 2, 3, 4, 5, 6, 7, 8].map((id) =>
    spec(id, { prompt: prompt(5, id * 100), maxTokens: 200 }),
  );
  scheduler.submit(specs, 0);
  const plan = planOf(scheduler);
  scheduler.applyTick({ ...decoded(plan), decodeMs: decodeMsOf(plan.work) });
  return scheduler;
}

function run(scheduler: ReturnType<typeof eightDecoding>, ticks: number): TickPlan[] {
  return Array.from({ length: ticks }, () => {
    const plan = planOf(scheduler);
    const result = decoded(plan, (sequenceId) => 10 + sequenceId);
    scheduler.applyTick({ ...result, decodeMs: decodeMsOf(plan.work) });
    return plan;
  });
}

const slotsOf = (plan: TickPlan) => plan.rows.map((row) => row.slot);
const moves = (plans: TickPlan[]) =>
  plans.flatMap((plan) => plan.operations.filter(({ kind }) => kind === 'copy'));

describe('compaction', () => {
  it('moves the top sequence into a hole that stays, and it goes on from the same token', () => {
    const scheduler = eightDecoding();
    scheduler.cancel(3);
    const plans = run(scheduler, 8);
    expect(moves(plans)).toEqual([expect.objectContaining({ kind: 'copy', fromSlot: 7, toSlot: 2 })]);
    expect(slotsOf(plans.at(-1)!)).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect(plans.at(-1)!.work.passes).toBe(1);
    const moved = plans.flatMap(({ rows }) => rows.filter((row) => row.sequenceId === 8));
    moved.reduce((position, row) => {
      if (position !== 0) expect(row.firstPosition).toBe(position);
      return row.firstPosition + row.tokens.length;
    }, 0);
  });

  it('makes every other slot dense, one move at a time', () => {
    const scheduler = eightDecoding();
    for (const id of [1, 3, 5, 7]) scheduler.cancel(id);
    const plans = run(scheduler, 12);
    expect(plans[0]!.work.passes).toBe(4);
    for (const { operations } of plans) expect(operations.length).toBeLessThanOrEqual(1);
    expect(slotsOf(plans.at(-1)!)).toEqual([0, 1, 2, 3]);
  });

  it('joins two runs far apart, though only the last of several moves saves a pass', () => {
    const scheduler = eightDecoding();
    for (const id of [3, 4, 5]) scheduler.cancel(id);
    const plans = run(scheduler, 10);
    expect(plans[0]!.work.passes).toBe(2);
    expect(moves(plans).map((move) => 'fromSlot' in move && [move.fromSlot, move.toSlot])).toEqual([
      [7, 2],
      [6, 3],
      [5, 4],
    ]);
    expect(slotsOf(plans.at(-1)!)).toEqual([0, 1, 2, 3, 4]);
    expect(plans.at(-1)!.work.passes).toBe(1);
  });

  it('leaves a hole that a new sequence fills at once', () => {
    const scheduler = eightDecoding();
    scheduler.cancel(3);
    scheduler.submit([spec(9, { prompt: prompt(5, 900), maxTokens: 100 })], 0);
    expect(moves(run(scheduler, 8))).toEqual([]);
  });

  it('does not move a sequence that is about to end', () => {
    const scheduler = makeScheduler({ slotCount: 3, contextTokens: 256, batchTokens: 64 });
    const lengths = [
      [1, 100],
      [2, 2],
      [3, 4],
    ] as const;
    scheduler.submit(
      lengths.map(([id, maxTokens]) => spec(id, { prompt: prompt(5, id * 100), maxTokens })),
      0,
    );
    expect(moves(run(scheduler, 4))).toEqual([]);
  });
});
