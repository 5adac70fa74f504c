import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { attendedBy, chunkMs, tiledShare, tileTokens, tokensWithin } from '../../scheduler/attention.js';
import { workOf } from '../../scheduler/work-of.js';

const cost = {
  perPassMs: 5,
  perTokenMs: 1,
  perSampledRowMs: 1,
  perAttendedTokenMs: 0.003,
  perLeftoverTokenMs: 0,
};

describe('attention of a chunk', () => {
  it('counts every pair of a token and what it attends to, and in tiles a share of them', () => {
    expect(attendedBy(3, 10)).toBe(11 + 12 + 13);
    const tile = attendedBy(tileTokens, 1_000);
    expect(tile).toBeCloseTo(tiledShare * tileTokens * 1_032.5);
    expect(tile).toBeLessThan(attendedBy(tileTokens - 1, 1_000));
  });

  it('what fits into a time takes about that time, and one token more does not fit', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 2_000 }),
        fc.integer({ min: 0, max: 4_000 }),
        (availableMs, firstPosition) => {
          const tokens = tokensWithin(availableMs, { cost, firstPosition });
          const callMs = (length: number) => cost.perPassMs + chunkMs(cost, length, firstPosition);
          // Positions within the chunk are left out: it is short beside what lies before it, or cheap.
          const withinMs = tokens * tokens * cost.perAttendedTokenMs;
          if (tokens > 0) expect(callMs(tokens)).toBeLessThanOrEqual(availableMs + withinMs);
          expect(callMs(tokens + 1)).toBeGreaterThan(availableMs);
        },
      ),
    );
  });

  it('counts fillers behind a row as part of its chunk, and others by themselves', () => {
    const row = { sequenceId: 1, slot: 1, firstPosition: 500, tokens: new Uint32Array(60), sample: true };
    const fillers = [
      { slot: 0, position: 30, tokens: 1 },
      { slot: 1, position: 560, tokens: 4 },
    ];
    const { attendedTokens, tokens } = workOf([row], 512, fillers);
    expect(tokens).toBe(65);
    expect(attendedTokens).toBeCloseTo(attendedBy(64, 500) + 31);
  });
});
