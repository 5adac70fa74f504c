import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { countPasses } from '../../scheduler/pass-count.js';
import { splitEqualPasses } from '../../src/simulation/split-equal.js';

describe('splitEqualPasses', () => {
  it('agrees with the arithmetic of the scheduler on any rows', () => {
    const rows = fc
      .uniqueArray(fc.record({ slot: fc.nat(12), length: fc.integer({ min: 1, max: 9 }) }), {
        selector: ({ slot }) => slot,
        maxLength: 10,
      })
      .map((list) =>
        [...list]
          .sort((left, right) => left.slot - right.slot)
          .map(({ slot, length }) => ({ slot, tokens: new Uint32Array(length) })),
      );
    fc.assert(
      fc.property(rows, fc.integer({ min: 10, max: 64 }), (list, batchTokens) => {
        expect(splitEqualPasses(list, batchTokens)).toBe(countPasses(list, batchTokens));
      }),
    );
  });
});
