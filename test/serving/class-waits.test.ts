import { describe, expect, it } from 'vitest';
import type { PriorityClass } from '../../scheduler/index.js';
import { ClassWaits } from '../../src/serving/class-waits.js';
import { decoded, makeScheduler, prompt, spec } from '../scheduler/support.js';
import { SeededRandom } from '../support/seeded-random.js';

const slotCount = 8;
const tickMs = 50;

const full = {
  waiting: 50,
  slotCount,
  cachedSlots: 0,
  emptySlots: 0,
  waitingByClass: { interactive: 50, standard: 0, batch: 0 },
  runningByClass: { interactive: slotCount, standard: 0, batch: 0 },
};

function learned(count: number, finishedClass: PriorityClass, occupancy = full, gapMs = 100): ClassWaits {
  const waits = new ClassWaits();
  for (let index = 0; index < count; index += 1) waits.finished(finishedClass, index * gapMs, occupancy);
  return waits;
}

describe('the wait by class', () => {
  it('is unknown until a few have finished', () => {
    expect(learned(4, 'interactive').waitMs('interactive', 50, full)).toBe(0);
    expect(learned(5, 'interactive').waitMs('interactive', 50, full)).toBeCloseTo(5_000);
  });

  it('is nothing while slots are free for all who are ahead', () => {
    const waits = learned(20, 'interactive');
    expect(waits.waitMs('interactive', 6, { ...full, cachedSlots: 2, emptySlots: 4 })).toBe(0);
    expect(waits.waitMs('interactive', 7, { ...full, cachedSlots: 2, emptySlots: 4 })).toBeCloseTo(100);
  });

  it('counts the slots of lower classes as free, and never learns from them', () => {
    const bulk = {
      ...full,
      waitingByClass: { interactive: 0, standard: 0, batch: 50 },
      runningByClass: { interactive: 1, standard: 2, batch: 5 },
    };
    expect(learned(20, 'batch').waitMs('interactive', 50, full)).toBe(0);
    const waits = learned(20, 'batch', bulk, 10_000);
    expect(waits.waitMs('interactive', 40, bulk)).toBe(0);
    expect(waits.waitMs('batch', 40, bulk)).toBeCloseTo(400_000);
    for (let index = 0; index < 20; index += 1) waits.finished('interactive', index * 100, full);
    expect(waits.waitMs('interactive', 8, bulk)).toBeCloseTo(100);
    expect(waits.waitMs('interactive', 8, full)).toBeCloseTo(800);
  });
});

const meanTokens = 20;
const learnedAtMs = 10_000;

/** Three times what the slots can do arrives at random; requests that are expected to wait longer are refused. */
function overload(limitMs: number, seconds: number) {
  const random = new SeededRandom(7);
  const scheduler = makeScheduler({ slotCount, maxWaiting: 10_000, maxWaitingTokens: 100_000 });
  const waits = new ClassWaits();
  const run = { waitedMs: [] as number[], finished: 0, refused: 0 };
  const arrive = (id: number, nowMs: number) => {
    const ahead = scheduler.aheadOf('interactive', 'anonymous');
    if (waits.waitMs('interactive', ahead, scheduler.stats()) > limitMs) run.refused += 1;
    else
      scheduler.submit(
        [spec(id, { prompt: prompt(3, id), maxTokens: 1 + random.below(2 * meanTokens) })],
        nowMs,
      );
  };
  let id = 0;
  for (let nowMs = 0; nowMs < seconds * 1000; nowMs += tickMs) {
    for (let chance = 0; chance < slotCount; chance += 1) {
      id += 1;
      if (random.next() < 3 / meanTokens) arrive(id, nowMs);
    }
    const { plan, events } = scheduler.planTick(nowMs);
    for (const event of [...events, ...(plan ? scheduler.applyTick(decoded(plan)) : [])]) {
      if (event.type === 'started' && nowMs - event.waitMs >= learnedAtMs) run.waitedMs.push(event.waitMs);
      if (event.type !== 'finished') continue;
      run.finished += 1;
      waits.finished('interactive', nowMs + tickMs, scheduler.stats());
    }
  }
  return run;
}

describe('three times too much', () => {
  const limitMs = 1_000;
  const isLate = (waitedMs: number) => waitedMs > 2 * limitMs;

  it('leaves no slot idle, and hardly anybody who is taken begins late', () => {
    const { waitedMs, finished, refused } = overload(limitMs, 300);
    const possible = (300_000 / tickMs) * (slotCount / (meanTokens + 0.5));
    expect(finished).toBeGreaterThan(0.95 * possible);
    expect(refused).toBeGreaterThan(1.5 * finished);
    expect(waitedMs.filter(isLate).length).toBeLessThan(0.01 * waitedMs.length);
  });

  it('is served late without a limit', () => {
    const { waitedMs, refused } = overload(Number.POSITIVE_INFINITY, 60);
    expect(refused).toBe(0);
    expect(waitedMs.every(isLate)).toBe(true);
  });
});
