import { describe, expect, it } from 'vitest';
import type { CostCoefficients } from '../../scheduler/cost-model.js';
import { chooseGapSlots } from '../../scheduler/gap-filling.js';
import { PaddedRows } from '../../scheduler/padded-rows.js';
import type { Scheduler } from '../../scheduler/scheduler.js';
import {
  dearLeftovers,
  decoded,
  decodeShapes,
  makeScheduler,
  planOf,
  prompt,
  spec,
  teachCosts,
} from './support.js';

const rows = (...slots: number[]) => slots.map((slot) => ({ slot, tokens: { length: 1 } }));
const range = (from: number, to: number) => Array.from({ length: to - from }, (_, index) => from + index);
const choose = (
  shapes: ReturnType<typeof rows>,
  priceOf: (slot: number) => number | null = () => 1,
  { batchTokens = 512, cost = dearLeftovers }: { batchTokens?: number; cost?: CostCoefficients } = {},
) => chooseGapSlots(new PaddedRows(shapes, batchTokens, cost), 32, priceOf);

describe('chooseGapSlots', () => {
  it('closes a gap that costs more than its tokens, and no other', () => {
    expect(choose(rows(...range(0, 12), ...range(13, 32)))).toEqual([12]);
    expect(choose(rows(...range(0, 12), ...range(24, 32)))).toEqual([]);
    expect(choose(rows(...range(0, 12), ...range(13, 32)), () => 20)).toEqual([]);
  });

  it('leaves a gap open when one of its slots cannot take a token', () => {
    const holed = rows(...range(0, 10), ...range(12, 32));
    expect(choose(holed)).toEqual([10, 11]);
    expect(choose(holed, (slot) => (slot === 11 ? null : 1))).toEqual([]);
  });

  it('makes many rows a multiple of four where one left over is dear', () => {
    expect(choose(rows(...range(0, 30)))).toEqual([30, 31]);
    expect(choose(rows(...range(0, 29)))).toEqual([]);
    expect(choose(rows(0, 1, 2))).toEqual([]);
    expect(
      choose(rows(...range(0, 30)), () => 1, { cost: { ...dearLeftovers, perLeftoverTokenMs: 0 } }),
    ).toEqual([]);
  });

  it('never exceeds the batch', () => {
    expect(choose(rows(...range(0, 12), ...range(13, 32)), () => 1, { batchTokens: 31 })).toEqual([]);
  });
});

describe('a tick with a gap', () => {
  const slotCount = 8;
  /** Eight sequences that decode, tokens being cheap; the third one leaves. */
  function withGap(reusePrefixes = true): Scheduler {
    const scheduler = makeScheduler({ slotCount, contextTokens: 64, batchTokens: 64, reusePrefixes });
    teachCosts(scheduler, decodeShapes, ({ passes, tokens }) => 10 * passes + tokens);
    const specs = range(1, 9).map((id) => spec(id, { prompt: prompt(5, id * 100), maxTokens: 50 }));
    scheduler.submit(specs, 0);
    scheduler.applyTick({ ...decoded(planOf(scheduler)), decodeMs: 50 });
    scheduler.cancel(3);
    return scheduler;
  }

  it('has a filler behind what the free slot holds, and the slot stays as it is', () => {
    const scheduler = withGap();
    const plan = planOf(scheduler);
    expect(plan.fillers).toEqual([{ slot: 2, position: 5, tokens: 1 }]);
    expect(plan.work).toMatchObject({ passes: 1, tokens: 8, sampledRows: 7 });
    scheduler.applyTick({ ...decoded(plan), decodeMs: 18 });
    expect(scheduler.slotTokens()[2]).toBe(5);
    scheduler.checkIntegrity();
  });

  it('has none where the model cannot forget a tail', () => {
    const plan = planOf(withGap(false));
    expect(plan.fillers).toEqual([]);
    expect(plan.work.passes).toBe(2);
  });

  it('knows nothing of the slot after a call that failed', () => {
    const scheduler = withGap();
    planOf(scheduler);
    scheduler.applyTick({ outcome: 'failed', message: 'no' });
    expect(scheduler.slotTokens()[2]).toBeNull();
  });
});
