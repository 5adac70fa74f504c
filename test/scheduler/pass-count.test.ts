import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { countPasses } from '../../scheduler/pass-count.js';

const rows = (...shape: [slot: number, tokens: number][]) =>
  shape.map(([slot, tokens]) => ({ slot, tokens: new Uint32Array(tokens) }));

describe('countPasses', () => {
  it.each([
    ['nothing', rows(), 0],
    ['dense decode', rows([0, 1], [1, 1], [2, 1], [3, 1]), 1],
    ['one hole', rows([0, 1], [1, 1], [3, 1]), 2],
    ['every other slot', rows([0, 1], [2, 1], [4, 1]), 3],
    ['decodes and one prefill', rows([0, 1], [1, 40], [2, 1]), 2],
    ['two equal neighbouring prefills', rows([0, 30], [1, 30]), 1],
    ['two unequal neighbouring prefills', rows([0, 40], [1, 30]), 2],
    ['two prefills apart', rows([0, 40], [2, 40]), 2],
    ['one full batch', rows([0, 64]), 1],
    ['decodes around two prefills', rows([0, 1], [1, 20], [2, 20], [3, 1], [4, 20]), 3],
  ])('%s', (_, shape, passes) => {
    expect(countPasses(shape, 64)).toBe(passes);
  });

  it('is at least one per run of neighbouring slots and at most one per token', () => {
    const shapes = fc.uniqueArray(fc.tuple(fc.nat(31), fc.integer({ min: 1, max: 12 })), {
      selector: ([slot]) => slot,
    });
    fc.assert(
      fc.property(shapes, (shape) => {
        const sorted = [...shape].sort(([left], [right]) => left - right);
        const passes = countPasses(rows(...sorted), 512);
        const runs = sorted.filter(([slot], index) => sorted[index - 1]?.[0] !== slot - 1).length;
        const tokens = sorted.reduce((sum, [, count]) => sum + count, 0);
        expect(passes).toBeGreaterThanOrEqual(runs);
        expect(passes).toBeLessThanOrEqual(tokens);
      }),
    );
  });
});
