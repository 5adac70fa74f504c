import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PrefixIndex } from '../../scheduler/prefix-index.js';

interface Lane {
  name: number;
}

const tokens = (...values: number[]) => Uint32Array.from(values);

function shared(left: readonly number[], right: readonly number[]): number {
  let length = 0;
  while (length < left.length && length < right.length && left[length] === right[length]) length += 1;
  return length;
}

describe('PrefixIndex', () => {
  it('says how much of a prompt every holder has', () => {
    const index = new PrefixIndex<Lane>();
    const [first, second, third] = [{ name: 1 }, { name: 2 }, { name: 3 }];
    index.insert('', first, tokens(1, 2, 3, 4));
    index.insert('', second, tokens(1, 2, 9));
    index.insert('', third, tokens(5));
    expect(index.match('', tokens(1, 2, 3, 7))).toEqual(
      new Map([
        [first, 3],
        [second, 2],
      ]),
    );
    expect(index.sharedLength(first)).toBe(2);
    expect(index.sharedLength(third)).toBe(0);
  });

  it('keeps namespaces apart', () => {
    const index = new PrefixIndex<Lane>();
    index.insert('mine', { name: 1 }, tokens(1, 2, 3));
    expect(index.match('yours', tokens(1, 2, 3)).size).toBe(0);
    expect(index.match('mine', tokens(1, 2, 3)).size).toBe(1);
  });

  it('refuses to cut what is locked', () => {
    const index = new PrefixIndex<Lane>();
    const lane = { name: 1 };
    index.insert('', lane, tokens(1, 2));
    index.lock(lane);
    index.lock(lane);
    index.unlock(lane);
    expect(() => index.remove(lane)).toThrow(/locked/);
    index.unlock(lane);
    index.remove(lane);
    expect(index.holderCount).toBe(0);
    expect(() => index.unlock(lane)).toThrow(/not locked/);
  });

  it('agrees with a naive model over a 2-token alphabet, whatever happens', () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), sequence, (steps, prompt) => {
        const pair = new IndexAndModel();
        for (const action of steps) pair.apply(action);
        pair.expectAgreement(prompt);
      }),
      { numRuns: 500 },
    );
  });
});

const sequence = fc.array(fc.integer({ min: 0, max: 1 }), { maxLength: 12 });
const lane = fc.nat(5);
const step = fc.oneof(
  fc.record({ verb: fc.constant('insert' as const), lane, namespace: fc.constantFrom('', 'b'), sequence }),
  fc.record({ verb: fc.constant('extend' as const), lane, sequence }),
  fc.record({ verb: fc.constant('truncate' as const), lane, length: fc.nat(12) }),
  fc.record({ verb: fc.constant('remove' as const), lane }),
);
type Step = typeof step extends fc.Arbitrary<infer Value> ? Value : never;

class IndexAndModel {
  private readonly index = new PrefixIndex<Lane>();
  private readonly lanes = Array.from({ length: 6 }, (_, name) => ({ name }));
  private readonly model = new Map<Lane, { namespace: string; held: number[] }>();

  apply(action: Step): void {
    const holder = this.lanes[action.lane]!;
    const known = this.model.get(holder);
    switch (action.verb) {
      case 'insert':
        this.index.insert(action.namespace, holder, Uint32Array.from(action.sequence));
        this.model.set(holder, { namespace: action.namespace, held: [...action.sequence] });
        break;
      case 'extend':
        if (!known || known.held.length === 0) break;
        known.held.push(...action.sequence);
        this.index.extend(holder, Uint32Array.from(known.held));
        break;
      case 'truncate':
        this.index.truncate(holder, action.length);
        if (known) known.held.length = Math.min(known.held.length, action.length);
        break;
      case 'remove':
        this.index.remove(holder);
        this.model.delete(holder);
    }
    this.index.checkIntegrity();
  }

  expectAgreement(prompt: readonly number[]): void {
    for (const namespace of ['', 'b', 'c']) {
      const expected = [...this.model]
        .filter(([, { namespace: own }]) => own === namespace)
        .map(([holder, { held }]) => [holder, shared(held, prompt)] as const)
        .filter(([, length]) => length > 0);
      expect(this.index.match(namespace, Uint32Array.from(prompt))).toEqual(new Map(expected));
    }
    for (const [holder, { namespace, held }] of this.model) {
      const others = [...this.model].filter(
        ([other, theirs]) => other !== holder && theirs.namespace === namespace,
      );
      const longest = Math.max(0, ...others.map(([, theirs]) => shared(theirs.held, held)));
      expect(this.index.length(holder)).toBe(held.length);
      expect(this.index.sharedLength(holder)).toBe(longest);
    }
  }
}
