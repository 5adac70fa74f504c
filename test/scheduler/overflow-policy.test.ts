import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { OverflowPolicy, overflowCost, StartTimes } from '../../scheduler/index.js';

const newcomer = { choices: 1, targetWaitMs: 1000, queuedOfTenant: 0 };
const free = { freeSlots: 2, waiting: 0, estimatedWaitMs: 0 };
const busy = (estimatedWaitMs: number) => ({ freeSlots: 0, waiting: 5, estimatedWaitMs });

describe('a newcomer', () => {
  it('goes into the line while the wait is short, and into the store beyond', () => {
    const policy = new OverflowPolicy();
    expect(policy.admitsDirectly(newcomer, free, 0)).toBe(true);
    expect(policy.admitsDirectly(newcomer, busy(1000), 0)).toBe(true);
    expect(policy.admitsDirectly(newcomer, busy(1001), 0)).toBe(false);
  });

  it('finds the line closed until the store is empty and the wait is half as long', () => {
    const policy = new OverflowPolicy();
    policy.lineRefused();
    expect(policy.admitsDirectly(newcomer, free, 1)).toBe(false);
    expect(policy.admitsDirectly(newcomer, busy(501), 0)).toBe(false);
    expect(policy.admitsDirectly(newcomer, busy(500), 0)).toBe(true);
    expect(policy.admitsDirectly(newcomer, busy(999), 0)).toBe(true);
  });

  it('never overtakes a request of its own tenant that waits in the store', () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({
            freeSlots: fc.nat(4),
            waiting: fc.nat(4),
            estimatedWaitMs: fc.nat(3000),
            queuedOfTenant: fc.nat(2),
            others: fc.nat(2),
          }),
        ),
        (steps) => {
          const policy = new OverflowPolicy();
          for (const { queuedOfTenant, others, ...line } of steps) {
            const direct = policy.admitsDirectly(
              { ...newcomer, queuedOfTenant },
              line,
              queuedOfTenant + others,
            );
            if (queuedOfTenant > 0) expect(direct).toBe(false);
          }
        },
      ),
    );
  });
});

describe('the drain', () => {
  it('takes a job for every slot that nobody in line will get', () => {
    const policy = new OverflowPolicy();
    expect(policy.pulls({ freeSlots: 4, waiting: 1 })).toBe(3);
    expect(policy.pulls({ freeSlots: 1, waiting: 1 })).toBe(0);
  });

  it('gets every second slot that becomes free while the line is never empty', () => {
    const policy = new OverflowPolicy();
    const crowded = { freeSlots: 0, waiting: 9 };
    let pulled = 0;
    for (let freed = 0; freed < 100; freed += 1) {
      policy.slotFreed();
      const count = policy.pulls(crowded);
      pulled += count;
      if (count > 0) policy.pulled();
    }
    expect(pulled).toBe(50);
  });
});

describe('start times', () => {
  it('let a tenant with few requests pass one with many, and equal tenants alternate', () => {
    const times = new StartTimes();
    const many = [0, 1, 2, 3].map(() => times.enter('standard', 'many', 2));
    expect(many).toEqual([0, 2, 4, 6]);
    times.served('standard', 2);
    expect(times.enter('standard', 'few', 2)).toBe(2);
    expect(times.enter('interactive', 'many', 2)).toBe(0);
  });

  it('never order two requests of one tenant against their arrival', () => {
    const step = fc.record({
      tenant: fc.constantFrom('a', 'b'),
      cost: fc.integer({ min: 1, max: 9 }),
      serve: fc.boolean(),
    });
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const times = new StartTimes();
        const last = new Map<string, number>();
        for (const { tenant, cost, serve } of steps) {
          const start = times.enter('batch', tenant, cost);
          expect(start).toBeGreaterThanOrEqual(last.get(tenant) ?? 0);
          last.set(tenant, start + cost);
          if (serve) times.served('batch', start);
        }
      }),
    );
  });

  it('count service as the fair share of the line does', () => {
    expect(overflowCost({ promptTokens: 0, promptCharacters: 0, choices: 1, maxTokens: 1 })).toBe(1);
    expect(overflowCost({ promptTokens: 256, promptCharacters: 1024, choices: 2, maxTokens: 128 })).toBe(4);
  });
});
