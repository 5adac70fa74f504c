import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { defaultOperationCosts } from '../../scheduler/operation-costs.js';
import type { TickPlan, TickResult } from '../../scheduler/ports.js';
import { Sequence } from '../../scheduler/sequence.js';
import type { SequenceSpec } from '../../scheduler/sequence-spec.js';
import { SlotCosts } from '../../scheduler/slot-costs.js';
import { SlotPool, type SlotPoolOptions } from '../../scheduler/slot-pool.js';
import { TickCosts } from '../../scheduler/tick-costs.js';
import { prompt, spec } from './support.js';

function makePool(slotCount: number, options: Partial<SlotPoolOptions> = {}): SlotPool {
  const costs = new SlotCosts(new TickCosts([1]), defaultOperationCosts);
  return new SlotPool({
    slotCount,
    costs,
    snapshotBytes: 0,
    snapshotBytesPerToken: null,
    reusePrefixes: true,
    bulkSitsOut: true,
    ...options,
  });
}

/** Files take `factor` times as long as was said. */
function costsOf(factor: number): SlotCosts {
  const costs = new SlotCosts(new TickCosts([1]), defaultOperationCosts);
  for (let count = 0; count < 50; count += 1) costs.observeFiles(costs.saveMs(100), factor * 2.2);
  return costs;
}

function occupy(
  pool: SlotPool,
  id: number,
  tokens = prompt(3, id * 1000),
  overrides: Partial<SequenceSpec> = {},
): Sequence {
  const sequence = new Sequence(spec(id, { prompt: tokens, maxTokens: 100, ...overrides }), 0);
  const { slot, inPlaceTokens } = pool.acquire(sequence);
  sequence.start(slot.index, id, inPlaceTokens);
  pool.settle(sequence, false);
  return sequence;
}

/** As if so many of its tokens were in the slot. */
function compute(pool: SlotPool, sequence: Sequence, tokens = sequence.spec.prompt.length): void {
  sequence.computedTokens = tokens;
  pool.slots[sequence.slot!]!.kvTokens = tokens;
}

function complete(pool: SlotPool, sequence: Sequence): void {
  compute(pool, sequence);
  pool.release(sequence);
}

const decodedNothing: TickResult = { outcome: 'decoded', sampledTokens: [], decodeMs: 1 };

/** Takes the operations as a plan that went well, with `bytesPerToken` for every save. */
function carryOut(pool: SlotPool, bytesPerToken = 1) {
  const operations = pool.takeOperations();
  const plan = { tick: 1, operations, rows: [], threads: 1 } as unknown as TickPlan;
  const saves = operations.flatMap((operation) =>
    operation.kind === 'save'
      ? { snapshotId: operation.snapshotId, bytes: operation.tokens.length * bytesPerToken }
      : [],
  );
  pool.applied(plan, { ...decodedNothing, saves });
  pool.checkIntegrity();
  return operations;
}

describe('which slot', () => {
  it('lies beside others of its kind, because bulk work mostly sits out', () => {
    const pool = makePool(8);
    const [, second] = [1, 2, 3].map((id) => occupy(pool, id, undefined, { priorityClass: 'batch' }));
    pool.release(second!);
    const readers = [4, 5].map((id) => occupy(pool, id).slot);
    expect(readers).toEqual([3, 4]);
    expect(occupy(pool, 6, undefined, { priorityClass: 'batch' }).slot).toBe(1);
    const shared = makePool(8, { bulkSitsOut: false });
    const [, hole] = [1, 2, 3].map((id) => occupy(shared, id, undefined, { priorityClass: 'batch' }));
    shared.release(hole!);
    expect(occupy(shared, 4).slot).toBe(1);
  });

  it('is the lowest, and holes are filled first', () => {
    const pool = makePool(4);
    const [first, second, third] = [1, 2, 3].map((id) => occupy(pool, id));
    expect([first!.slot, second!.slot, third!.slot]).toEqual([0, 1, 2]);
    complete(pool, second!);
    expect(occupy(pool, 4).slot).toBe(1);
    expect(occupy(pool, 5).slot).toBe(3);
  });

  it('is the one that holds the longest prefix, with one token left to compute', () => {
    const pool = makePool(4);
    const sequences = [1, 2, 3].map((id) => occupy(pool, id, prompt(40, id * 1000)));
    for (const sequence of sequences) complete(pool, sequence);
    expect(occupy(pool, 4, prompt(40, 2000))).toMatchObject({ slot: 1, cachedTokens: 39 });
    expect(occupy(pool, 5, prompt(60, 3000))).toMatchObject({ slot: 2, cachedTokens: 40 });
  });

  it('is an empty one rather than one with a valuable cache', () => {
    const pool = makePool(2);
    complete(pool, occupy(pool, 1, prompt(300)));
    expect(occupy(pool, 2, prompt(20, 5000)).slot).toBe(1);
  });

  it('is the one whose cache is worth least when all hold something', () => {
    const pool = makePool(3);
    const sequences = [300, 20, 200].map((length, at) => occupy(pool, at, prompt(length, 1000 * at)));
    for (const sequence of sequences) complete(pool, sequence);
    expect(occupy(pool, 9, prompt(30, 9000)).slot).toBe(1);
    expect(pool.cacheStats().evictions.overwritten).toBe(1);
  });

  it('is a duplicate rather than the only holder of a prefix', () => {
    const pool = makePool(3);
    const shared = prompt(200);
    const only = occupy(pool, 1, prompt(100, 5000));
    const first = occupy(pool, 2, shared);
    compute(pool, first);
    const second = occupy(pool, 3, shared);
    expect(second).toMatchObject({ slot: 2, cachedTokens: 199 });
    for (const sequence of [only, first, second]) complete(pool, sequence);
    expect(occupy(pool, 4, prompt(30, 9000)).slot).not.toBe(0);
  });
});

describe('where the prefix comes from', () => {
  it('is a busy slot, by a copy that leaves it alone', () => {
    const pool = makePool(4);
    const donor = occupy(pool, 1, prompt(200));
    compute(pool, donor);
    const copied = occupy(pool, 2, Uint32Array.of(...prompt(150), 9, 9, 9));
    expect(copied).toMatchObject({ slot: 1, cachedTokens: 150 });
    expect(carryOut(pool)).toEqual([{ kind: 'copy', fromSlot: 0, toSlot: 1, keepTokens: 150 }]);
    expect(pool.cacheStats().hitTokens.copy).toBe(150);
  });

  it('is nowhere when a copy costs more than computing', () => {
    const pool = makePool(2);
    compute(pool, occupy(pool, 1, prompt(200)));
    expect(occupy(pool, 2, Uint32Array.of(1, 2, 3, 4, 900))).toMatchObject({ cachedTokens: 0 });
  });

  it('is only as much of a busy slot as it has computed', () => {
    const pool = makePool(2);
    compute(pool, occupy(pool, 1, prompt(200), { priorityClass: 'batch' }), 100);
    expect(occupy(pool, 2, prompt(200)).cachedTokens).toBe(100);
  });

  it('is never a slot of another salt', () => {
    const pool = makePool(2);
    compute(pool, occupy(pool, 1, prompt(200), { cacheSalt: 'mine' }));
    expect(occupy(pool, 2, prompt(200), { cacheSalt: 'yours' }).cachedTokens).toBe(0);
    expect(carryOut(pool)).toEqual([]);
  });

  it('is nowhere when what a slot holds is unknown', () => {
    const pool = makePool(1);
    const sequence = occupy(pool, 1, prompt(40));
    compute(pool, sequence);
    pool.slots[0]!.kvTokens = null;
    pool.release(sequence);
    expect(pool.cachedCount).toBe(0);
    expect(occupy(pool, 2, prompt(40)).cachedTokens).toBe(0);
  });

  it('is nowhere for models that cannot forget a tail', () => {
    const pool = makePool(2, { reusePrefixes: false, snapshotBytes: 1e9 });
    complete(pool, occupy(pool, 1, prompt(200)));
    expect(pool.cachedCount).toBe(0);
    expect(occupy(pool, 2, prompt(200)).cachedTokens).toBe(0);
    pool.checkIntegrity();
  });
});

describe('waiting for a prefix that is being computed', () => {
  it('is cheaper than computing it twice, then it is copied', () => {
    const pool = makePool(4);
    const donor = occupy(pool, 1, prompt(200));
    const waiting = occupy(pool, 2, Uint32Array.of(...prompt(150), 9, 9));
    expect(waiting.isSettled).toBe(false);
    compute(pool, donor, 100);
    expect(pool.settle(waiting, false)).toBe(false);
    compute(pool, donor, 160);
    expect(pool.settle(waiting, false)).toBe(true);
    expect(waiting.cachedTokens).toBe(150);
    expect(pool.cacheStats().hitTokens['wait-and-copy']).toBe(150);
  });

  it('ends when the donor goes away: what it had is taken, the rest computed', () => {
    const pool = makePool(2);
    const donor = occupy(pool, 1, prompt(200));
    const waiting = occupy(pool, 2, prompt(200));
    compute(pool, donor, 100);
    pool.release(donor);
    expect(pool.settle(waiting, false)).toBe(true);
    expect(waiting.cachedTokens).toBe(100);
  });

  it('never happens behind a lower class', () => {
    const pool = makePool(2);
    occupy(pool, 1, prompt(200), { priorityClass: 'batch' });
    expect(occupy(pool, 2, prompt(200), { priorityClass: 'interactive' }).isSettled).toBe(true);
  });

  it('does not happen for a prefix that is quickly computed', () => {
    const pool = makePool(2);
    occupy(pool, 1, prompt(10));
    expect(occupy(pool, 2, prompt(10)).isSettled).toBe(true);
  });

  it('for its turn does not make its donor worthless', () => {
    const pool = makePool(3);
    const donor = occupy(pool, 1, prompt(400));
    const others = [2, 3].map((id) => occupy(pool, id, prompt(100, id * 1000)));
    for (const each of [donor, ...others]) complete(pool, each);
    const patient = new Sequence(spec(4, { prompt: Uint32Array.of(...prompt(150), 9, 9) }), 0);
    const { slot, inPlaceTokens } = pool.acquire(patient);
    patient.start(slot.index, 4, inPlaceTokens);
    expect(slot.index).not.toBe(donor.slot);
    expect(occupy(pool, 5, prompt(30, 9000)).slot).not.toBe(donor.slot);
  });

  it('spreads many copies over ticks while others decode', () => {
    const pool = makePool(8);
    compute(pool, occupy(pool, 1, prompt(200)));
    const sharers = [2, 3, 4, 5, 6].map((id) => {
      const sequence = new Sequence(spec(id, { prompt: prompt(200) }), 0);
      const { slot, inPlaceTokens } = pool.acquire(sequence);
      sequence.start(slot.index, id, inPlaceTokens);
      return sequence;
    });
    expect(sharers.filter((sequence) => pool.settle(sequence, true))).toHaveLength(3);
    carryOut(pool);
    expect(sharers.filter((each) => !each.isSettled && pool.settle(each, true))).toHaveLength(2);
  });
});

describe('what files cost', () => {
  it('is not learned from one that the machine held up', () => {
    const costs = costsOf(1);
    const usualMs = costs.saveMs(100);
    costs.observeFiles(usualMs, 100 * usualMs);
    expect(costs.saveMs(100)).toBeLessThan(2 * usualMs);
  });

  it('is learned from many, and tried again a few hundred ticks later', () => {
    const costs = costsOf(50);
    expect(costs.saveMs(100)).toBeGreaterThan(100);
    for (let tick = 0; tick < 600; tick += 1) costs.forgetFiles();
    expect(costs.saveMs(100)).toBeLessThan(10);
  });
});

describe('snapshots', () => {
  it('keep what is overwritten, and bring it back', () => {
    const pool = makePool(1, { snapshotBytes: 1000 });
    complete(pool, occupy(pool, 1, prompt(300)));
    const other = occupy(pool, 2, prompt(300, 5000));
    expect(carryOut(pool)).toMatchObject([{ kind: 'save', slot: 0, snapshotId: 1 }]);
    complete(pool, other);
    const back = occupy(pool, 3, prompt(300));
    expect(back.cachedTokens).toBe(299);
    expect(carryOut(pool)).toMatchObject([
      { kind: 'save', slot: 0, snapshotId: 2 },
      { kind: 'restore', slot: 0, snapshotId: 1, keepTokens: 299 },
    ]);
    expect(pool.cacheStats()).toMatchObject({
      snapshots: 2,
      snapshotBytes: 600,
      hitTokens: { snapshot: 299 },
    });
  });

  it('are made of all that leaves in one tick, unless that takes longer than computing one of them again', () => {
    const savesInOneTick = (fileFactor: number) => {
      const pool = makePool(16, {
        snapshotBytes: 1e6,
        snapshotBytesPerToken: 1,
        costs: costsOf(fileFactor),
      });
      const first = Array.from({ length: 16 }, (_, id) => occupy(pool, id, prompt(150, id * 1000)));
      for (const sequence of first) complete(pool, sequence);
      for (let id = 16; id < 32; id += 1) occupy(pool, id, prompt(150, id * 1000));
      const saves = carryOut(pool).length;
      expect(pool.cacheStats().evictions).toMatchObject({ saved: saves, overwritten: 16 - saves });
      return saves;
    };
    expect(savesInOneTick(1)).toBe(16);
    // 22 of at most 100 ms each.
    expect(savesInOneTick(8)).toBe(4);
  });

  it('take the place of the same conversation one turn earlier', () => {
    const pool = makePool(1, { snapshotBytes: 1e6 });
    complete(pool, occupy(pool, 1, prompt(300)));
    complete(pool, occupy(pool, 2, prompt(300, 5000)));
    carryOut(pool);
    complete(pool, occupy(pool, 3, prompt(400)));
    carryOut(pool);
    occupy(pool, 4, prompt(300, 9000));
    carryOut(pool);
    expect(pool.cacheStats()).toMatchObject({ snapshots: 2, snapshotBytes: 700 });
    expect(pool.takeOperations()).toEqual([{ kind: 'forget', snapshotId: 1 }]);
    expect(pool.cacheStats().evictions).toMatchObject({ saved: 3, overwritten: 0, 'snapshot-limit': 0 });
  });

  it('stay when several go on from them', () => {
    const pool = makePool(1, { snapshotBytes: 1e6 });
    complete(pool, occupy(pool, 1, prompt(300)));
    complete(pool, occupy(pool, 2, prompt(300, 5000)));
    carryOut(pool);
    for (const branch of [20_000, 30_000, 40_000]) {
      const tokens = Uint32Array.from([...prompt(300), ...prompt(200, branch)]);
      complete(pool, occupy(pool, branch, tokens));
      carryOut(pool);
      complete(pool, occupy(pool, branch + 1, prompt(300, branch + 5000)));
      expect(carryOut(pool).filter(({ kind }) => kind === 'forget')).toEqual([]);
    }
    expect(pool.takeOperations()).toEqual([]);
    expect(pool.cacheStats().hitTokens.snapshot).toBe(900);
  });

  it('stay within their limit, the least valuable go first', () => {
    const pool = makePool(1, { snapshotBytes: 700 });
    for (let id = 1; id <= 6; id += 1) {
      complete(pool, occupy(pool, id, prompt(300, id * 1000)));
      carryOut(pool);
    }
    const { snapshots, snapshotBytes, evictions } = pool.cacheStats();
    expect({ snapshots, snapshotBytes }).toEqual({ snapshots: 2, snapshotBytes: 600 });
    expect(evictions).toMatchObject({ saved: 5, 'snapshot-limit': 3 });
    expect(pool.takeOperations().filter(({ kind }) => kind === 'forget').length).toBeLessThanOrEqual(1);
  });

  it('are not made of what is quickly computed', () => {
    const pool = makePool(1, { snapshotBytes: 1000 });
    complete(pool, occupy(pool, 1, prompt(4)));
    occupy(pool, 2, prompt(300, 5000));
    expect(carryOut(pool)).toEqual([]);
  });

  it('are forgotten when they cannot be saved', () => {
    const pool = makePool(1, { snapshotBytes: 1000 });
    complete(pool, occupy(pool, 1, prompt(300)));
    occupy(pool, 2, prompt(300, 5000));
    const plan = { operations: pool.takeOperations(), rows: [] } as unknown as TickPlan;
    pool.applied(plan, { ...decodedNothing, saves: [{ snapshotId: 1, bytes: null }] });
    expect(pool.cacheStats()).toMatchObject({
      snapshots: 0,
      snapshotBytes: 0,
      evictions: { 'snapshot-failed': 1 },
    });
  });

  it('are tried less often while the store refuses them, and again later', () => {
    const pool = makePool(1, { snapshotBytes: 1e6 });
    const tried: number[] = [];
    for (let step = 0; step < 40; step += 1) {
      complete(pool, occupy(pool, step, prompt(300, step * 1000)));
      const plan = { operations: pool.takeOperations(), rows: [] } as unknown as TickPlan;
      const saves = plan.operations.flatMap((each) =>
        each.kind === 'save' ? { snapshotId: each.snapshotId, bytes: null } : [],
      );
      if (saves.length > 0) tried.push(step);
      pool.applied(plan, { ...decodedNothing, saves });
    }
    expect(tried.length).toBeGreaterThan(2);
    expect(tried.length).toBeLessThan(7);
  });

  it('are forgotten when they cannot be restored', () => {
    const pool = makePool(1, { snapshotBytes: 1000 });
    complete(pool, occupy(pool, 1, prompt(300)));
    const other = occupy(pool, 2, prompt(300, 5000));
    carryOut(pool);
    complete(pool, other);
    const back = occupy(pool, 3, prompt(300));
    const plan = { operations: pool.takeOperations(), rows: [] } as unknown as TickPlan;
    pool.applied(plan, { outcome: 'slots-lost', slots: [0], saves: [{ snapshotId: 2, bytes: 300 }] });
    pool.lose(pool.slots[0]!, 0);
    expect(back).toMatchObject({ computedTokens: 0, cachedTokens: 0 });
    expect(pool.cacheStats().snapshots).toBe(1);
    pool.checkIntegrity();
  });

  it('take the place of copies for a prefix that many share', () => {
    const pool = makePool(4, { snapshotBytes: 1e6 });
    compute(pool, occupy(pool, 1, prompt(200)));
    occupy(pool, 2, prompt(200));
    occupy(pool, 3, prompt(200));
    expect(carryOut(pool).map(({ kind }) => kind)).toEqual(['save', 'restore', 'restore']);
  });
});

describe('moving', () => {
  it('takes the KV along and leaves it as cache', () => {
    const pool = makePool(3);
    const [first, second] = [1, 2].map((id) => occupy(pool, id, prompt(40, id * 1000)));
    complete(pool, first!);
    compute(pool, second!);
    pool.move(second!, 0);
    expect(second!.slot).toBe(0);
    expect(carryOut(pool)).toEqual([{ kind: 'copy', fromSlot: 1, toSlot: 0, keepTokens: 40 }]);
    expect(pool.slots[1]!.cached).toHaveLength(40);
    complete(pool, second!);
    pool.checkIntegrity();
  });
});

describe('SlotPool', () => {
  it('refuses to release the slot of another', () => {
    const pool = makePool(2);
    const sequence = occupy(pool, 1);
    pool.release(sequence);
    expect(() => pool.release(sequence)).toThrow(/slot 0 of another/);
  });

  it('conserves slots and never promises what a slot does not hold, in any order of events', () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 80 }), fc.constantFrom(0, 200, 5000), (events, bytes) => {
        const pool = makePool(4, { snapshotBytes: bytes });
        const live: Sequence[] = [];
        for (const [step, each] of events.entries()) {
          happen(pool, live, step, each);
          for (const sequence of live) if (!sequence.isSettled) pool.settle(sequence, step % 2 === 0);
          carryOut(pool);
          expect(pool.freeCount).toBe(4 - live.length);
          expect(pool.cacheStats().snapshotBytes).toBeLessThanOrEqual(bytes);
        }
      }),
    );
  });
});

const event = fc.record({
  verb: fc.constantFrom('start', 'start', 'compute', 'release', 'lose', 'move'),
  pick: fc.nat(100),
  tokens: fc.array(fc.nat(1), { minLength: 1, maxLength: 80 }),
});
type Event = typeof event extends fc.Arbitrary<infer Value> ? Value : never;

function happen(pool: SlotPool, live: Sequence[], step: number, { verb, pick, tokens }: Event): void {
  if (verb === 'start' && pool.freeCount > 0) live.push(occupy(pool, step, Uint32Array.from(tokens)));
  if (verb === 'lose') pool.lose(pool.slots[pick % 4]!, pick % 2 ? 0 : null);
  const chosen = live[pick % Math.max(1, live.length)];
  if (!chosen) return;
  if (verb === 'compute' && chosen.isSettled) compute(pool, chosen);
  if (verb === 'release') {
    live.splice(live.indexOf(chosen), 1);
    pool.release(chosen);
  }
  const hole = pool.slots.find(({ owner }) => owner === null);
  const isWhole = chosen.isSettled && pool.slots[chosen.slot!]!.kvTokens === chosen.computedTokens;
  if (verb === 'move' && isWhole && hole) pool.move(chosen, hole.index);
}
