import { describe, expect, it } from 'vitest';
import { PaddedRows } from '../../scheduler/padded-rows.js';
import { chooseTails } from '../../scheduler/tail-padding.js';
import { dearLeftovers, decoded, makeScheduler, planOf, prompt, spec, teachCosts } from './support.js';

const rows = (...lengths: number[]) => lengths.map((length, slot) => ({ slot, tokens: { length } }));
const tails = (
  shapes: ReturnType<typeof rows>,
  { batchTokens = 512, perLeftoverTokenMs = 4, room = 512 } = {},
) => {
  const padded = new PaddedRows(shapes, batchTokens, { ...dearLeftovers, perLeftoverTokenMs });
  return [...chooseTails(padded, (_, tokens) => (tokens <= room ? tokens : null))];
};

describe('chooseTails', () => {
  it('makes the pass of a chunk a multiple of four, where one left over is dear', () => {
    expect(tails(rows(63))).toEqual([[0, 1]]);
    expect(tails(rows(62))).toEqual([[0, 2]]);
    expect(tails(rows(61))).toEqual([]);
    expect(tails(rows(64))).toEqual([]);
    expect(tails(rows(63), { perLeftoverTokenMs: 0.4 })).toEqual([]);
  });

  it('completes a tile of attention where that saves more than its tokens cost', () => {
    const priceOf = (_: number, tokens: number) => (tokens === 16 ? -30 : tokens);
    const padded = new PaddedRows(rows(48), 512, { ...dearLeftovers, perLeftoverTokenMs: 0 });
    expect([...chooseTails(padded, priceOf)]).toEqual([[0, 16]]);
  });

  it('counts the token that rides in the pass of those who decode', () => {
    expect(tails(rows(1, 1, 1, 64))).toEqual([[3, 1]]);
    expect(tails(rows(1, 1, 1, 65))).toEqual([]);
  });

  it('saves the pass of a chunk that is a little longer than its neighbour', () => {
    expect(tails(rows(64, 66), { perLeftoverTokenMs: 0 })).toEqual([[0, 2]]);
  });

  it('keeps within slot and batch, and leaves rows of one token alone', () => {
    expect(tails(rows(62), { room: 1 })).toEqual([]);
    expect(tails(rows(63), { batchTokens: 63 })).toEqual([]);
    expect(tails(rows(1, 1, 1, 1, 1, 1, 1))).toEqual([]);
  });
});

describe('a prompt whose end is not a multiple of four', () => {
  const planned = (overrides: { reusePrefixes?: boolean; contextTokens?: number } = {}) => {
    const scheduler = makeScheduler({ slotCount: 4, contextTokens: 64, batchTokens: 64, ...overrides });
    const shapes = [
      { tokens: 8 },
      { tokens: 11, leftoverTokens: 3 },
      { tokens: 40 },
      { passes: 3, tokens: 60 },
    ];
    teachCosts(
      scheduler,
      shapes,
      ({ passes, tokens, leftoverTokens }) => 5 * passes + tokens + 4 * leftoverTokens,
    );
    scheduler.submit([spec(1, { prompt: prompt(23), maxTokens: 1 })], 0);
    return { scheduler, plan: planOf(scheduler) };
  };

  it('gets fillers behind it, and its slot holds the prompt alone', () => {
    const { scheduler, plan } = planned();
    expect(plan.fillers).toEqual([{ slot: 0, position: 23, tokens: 1 }]);
    expect(plan.rows[0]).toMatchObject({ slot: 0, sample: true });
    expect(plan.rows[0]!.tokens).toHaveLength(23);
    expect(plan.work).toMatchObject({ tokens: 24, leftoverTokens: 0 });
    scheduler.applyTick(decoded(plan));
    expect(scheduler.slotTokens()[0]).toBe(23);
    scheduler.checkIntegrity();
  });

  it('gets none where the model cannot forget a tail, and none beyond the window', () => {
    expect(planned({ reusePrefixes: false }).plan.fillers).toEqual([]);
    expect(planned({ contextTokens: 24 }).plan.fillers).toHaveLength(1);
    expect(tails(rows(63), { room: 0 })).toEqual([]);
  });
});
