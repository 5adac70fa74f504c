import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Sequence } from '../../scheduler/sequence.js';
import { SlotPool } from '../../scheduler/slot-pool.js';
import { prompt, spec } from './support.js';

function occupy(pool: SlotPool, id: number, tokens = prompt(3, id * 100)): Sequence {
  const sequence = new Sequence(spec(id, { prompt: tokens }), 0);
  const { slot, cachedTokens } = pool.acquire(sequence);
  sequence.start(slot.index, id, cachedTokens);
  return sequence;
}

/** As if its whole prompt had been computed. */
function complete(pool: SlotPool, sequence: Sequence): void {
  sequence.computedTokens = sequence.spec.prompt.length;
  pool.slots[sequence.slot!]!.kvTokens = sequence.computedTokens;
  pool.release(sequence);
}

describe('SlotPool', () => {
  it('gives slots densely from 0 and fills holes first', () => {
    const pool = new SlotPool(4);
    const [first, second, third] = [1, 2, 3].map((id) => occupy(pool, id));
    expect([first!.slot, second!.slot, third!.slot]).toEqual([0, 1, 2]);
    complete(pool, second!);
    expect(occupy(pool, 4).slot).toBe(1);
    expect(occupy(pool, 5).slot).toBe(3);
  });

  it('prefers the slot that holds the longest prefix and leaves one token to compute', () => {
    const pool = new SlotPool(4);
    const sequences = [1, 2, 3].map((id) => occupy(pool, id, prompt(40, id * 100)));
    for (const sequence of sequences) complete(pool, sequence);
    expect(occupy(pool, 4, prompt(40, 200))).toMatchObject({ slot: 1, cachedTokens: 39 });
    expect(occupy(pool, 5, prompt(60, 300))).toMatchObject({ slot: 2, cachedTokens: 40 });
  });

  it('does not leave the lowest slot for a short match', () => {
    const pool = new SlotPool(4);
    const sequences = [1, 2].map((id) => occupy(pool, id, prompt(15, id * 100)));
    for (const sequence of sequences) complete(pool, sequence);
    expect(occupy(pool, 3, prompt(15, 200))).toMatchObject({ slot: 0, cachedTokens: 0 });
  });

  it('offers no cache when what the slot holds is unknown', () => {
    const pool = new SlotPool(1);
    const sequence = occupy(pool, 1, prompt(40));
    sequence.computedTokens = 40;
    pool.slots[0]!.kvTokens = null;
    pool.release(sequence);
    expect(pool.cachedCount).toBe(0);
    expect(occupy(pool, 2, prompt(40)).cachedTokens).toBe(0);
  });

  it('refuses to release the slot of another', () => {
    const pool = new SlotPool(2);
    const sequence = occupy(pool, 1);
    pool.release(sequence);
    expect(() => pool.release(sequence)).toThrow(/slot 0 of another/);
  });

  it('conserves slots under any order of acquiring and releasing (against a naive model)', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(9), { maxLength: 200 }), (choices) => {
        const pool = new SlotPool(5);
        const owned = new Map<number, Sequence>();
        choices.forEach((choice, step) => {
          if (choice < 5 && owned.has(choice)) {
            complete(pool, owned.get(choice)!);
            owned.delete(choice);
          } else if (pool.freeCount > 0) {
            const lowest = [0, 1, 2, 3, 4].find((index) => !owned.has(index))!;
            const sequence = occupy(pool, step + 1);
            expect(sequence.slot).toBe(lowest);
            owned.set(lowest, sequence);
          }
          expect(pool.freeCount).toBe(5 - owned.size);
        });
      }),
    );
  });
});
