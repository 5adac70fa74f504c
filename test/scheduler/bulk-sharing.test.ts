import { describe, expect, it } from 'vitest';
import { bulkShare } from '../../scheduler/bulk-sharing.js';
import type { SequenceSpec, TickPlan } from '../../scheduler/index.js';
import { Scheduler } from '../../scheduler/scheduler.js';
import { prompt, spec } from './support.js';

const cost = { perPassMs: 5, perTokenMs: 1, perSampledRowMs: 1 };
const costOf = ({ work }: TickPlan) =>
  cost.perPassMs * work.passes + cost.perTokenMs * work.tokens + cost.perSampledRowMs * work.sampledRows;

interface Options {
  itlTargetMs?: number | null;
  batchTokens?: number;
}

/** Eight slots on a machine whose costs are known exactly. */
function makeScheduler({ itlTargetMs = null, batchTokens = 256 }: Options = {}): Scheduler {
  const config = { slotCount: 8, contextTokens: 400, maxWaiting: 32, maxWaitingTokens: 8000 };
  const ttftTargetsMs = { interactive: 2_000, standard: 10_000, batch: 600_000 };
  const policy = { itlTargetMs, ttftTargetsMs, threadChoices: [1] };
  const scheduler = new Scheduler({ ...config, batchTokens, endTokens: new Set() }, policy);
  for (let round = 0; round < 32; round += 1) {
    for (const [passes, tokens, sampledRows] of [
      [1, 1, 1],
      [1, 8, 8],
      [4, 4, 4],
      [1, 64, 1],
      [1, 128, 1],
    ] as const) {
      const work = { passes, tokens, sampledRows, attendedTokens: 0, leftoverTokens: 0 };
      scheduler.costs.observe(
        work,
        1,
        cost.perPassMs * passes + cost.perTokenMs * tokens + cost.perSampledRowMs * sampledRows,
      );
    }
  }
  return scheduler;
}

const bulk = (id: number, overrides: Partial<SequenceSpec> = {}) =>
  spec(id, { priorityClass: 'batch', prompt: prompt(40, id * 1000), maxTokens: 300, ...overrides });
const reader = (id: number, overrides: Partial<SequenceSpec> = {}) =>
  bulk(id, { priorityClass: 'interactive', prompt: prompt(2, id * 1000), ...overrides });

/** @returns rows by sequence id, of every tick */
function run(
  scheduler: Scheduler,
  ticks: number,
  startMs = 0,
): { tokens: Map<number, number>; ms: number }[] {
  let clockMs = startMs;
  return Array.from({ length: ticks }, () => {
    const { plan } = scheduler.planTick(clockMs);
    if (!plan) throw new Error('nothing was planned');
    const ms = costOf(plan);
    clockMs += ms;
    scheduler.applyTick({
      outcome: 'decoded',
      sampledTokens: plan.rows.map(({ sample }) => (sample ? 7 : -1)),
      decodeMs: ms,
    });
    return { ms, tokens: new Map(plan.rows.map((row) => [row.sequenceId, row.tokens.length])) };
  });
}

const meanMs = (ticks: readonly { ms: number }[]) =>
  ticks.reduce((sum, { ms }) => sum + ms, 0) / ticks.length;

describe('bulk work beside a reader', () => {
  it('costs the reader a tenth of its time, and gets on all the same', () => {
    const alone = makeScheduler();
    alone.submit([reader(1)], 0);
    const scheduler = makeScheduler();
    scheduler.submit([reader(1)], 0);
    run(scheduler, 1);
    scheduler.submit(
      [2, 3, 4, 5].map((id) => bulk(id)),
      0,
    );
    const [undisturbed, shared] = [run(alone, 201).slice(1), run(scheduler, 200)];
    expect(shared.every(({ tokens }) => tokens.get(1) === 1)).toBe(true);
    const slowdown = meanMs(shared) / meanMs(undisturbed);
    expect(slowdown).toBeGreaterThan(1 + bulkShare / 2);
    // A credit may be spent just before the end.
    expect(slowdown).toBeLessThan(1 + 1.2 * bulkShare);
    for (const id of [2, 3, 4, 5]) expect(shared.some(({ tokens }) => tokens.has(id))).toBe(true);
  });

  it('never makes a tick longer than a full decode while its credit lasts for more than one', () => {
    const scheduler = makeScheduler();
    scheduler.submit([reader(1)], 0);
    run(scheduler, 1);
    scheduler.submit(
      [2, 3, 4, 5].map((id) => bulk(id)),
      0,
    );
    const fullDecodeMs = scheduler.itlTargetMs / 2.5;
    expect(Math.max(...run(scheduler, 200).map(({ ms }) => ms))).toBeLessThanOrEqual(1.1 * fullDecodeMs);
  });

  it('fills an ITL target that was asked for', () => {
    const scheduler = makeScheduler({ itlTargetMs: 100 });
    scheduler.submit([reader(1)], 0);
    run(scheduler, 1);
    scheduler.submit(
      [2, 3, 4, 5].map((id) => bulk(id)),
      0,
    );
    const ticks = run(scheduler, 30);
    expect(Math.max(...ticks.map(({ ms }) => ms))).toBeLessThanOrEqual(100);
    expect(ticks.at(-1)!.tokens.size).toBe(5);
  });

  it('joins every tick when throughput comes first', () => {
    const scheduler = makeScheduler({ itlTargetMs: 0 });
    scheduler.submit([reader(1), ...[2, 3].map((id) => bulk(id))], 0);
    expect(run(scheduler, 2).map(({ tokens }) => tokens.size)).toEqual([3, 3]);
  });
});

describe('bulk work alone', () => {
  it('gets whole prompts and full batches', () => {
    const scheduler = makeScheduler();
    scheduler.submit(
      [2, 3, 4, 5].map((id) => bulk(id)),
      0,
    );
    expect([...run(scheduler, 1)[0]!.tokens.values()]).toEqual([40, 40, 40, 40]);
  });

  it('keeps its ticks short for a while after a reader has left', () => {
    const scheduler = makeScheduler();
    scheduler.submit([reader(1, { maxTokens: 1 })], 0);
    run(scheduler, 1);
    scheduler.submit(
      [2, 3, 4, 5].map((id) => bulk(id)),
      0,
    );
    const soon = run(scheduler, 1, 1_000)[0]!;
    expect([...soon.tokens.values()].reduce((sum, tokens) => sum + tokens)).toBeLessThan(60);
    const later = run(scheduler, 1, 60_000)[0]!;
    expect([...later.tokens.values()].reduce((sum, tokens) => sum + tokens)).toBeGreaterThan(90);
  });
});

describe('a line that bulk work would fill', () => {
  it('keeps half of its room for others', () => {
    const scheduler = makeScheduler();
    const ids = Array.from({ length: 60 }, (_, index) => index + 1);
    const taken = ids.filter((id) => scheduler.submit([bulk(id)], 0) === null);
    expect(taken).toHaveLength(8 + 16);
    expect(scheduler.submit([bulk(100)], 0)).toMatchObject({ reason: 'waiting' });
    expect(scheduler.submit([reader(101)], 0)).toBeNull();
  });

  it('takes tokens of bulk work up to half', () => {
    const scheduler = makeScheduler();
    const long = (id: number) => bulk(id, { prompt: prompt(399, id * 1000), maxTokens: 1 });
    const ids = Array.from({ length: 60 }, (_, index) => index + 1);
    ids.slice(0, 8).forEach((id) => {
      scheduler.submit([long(id)], 0);
    });
    scheduler.planTick(0);
    const taken = ids.slice(8).filter((id) => scheduler.submit([long(id)], 0) === null);
    expect(taken).toHaveLength(10);
    expect(scheduler.submit([{ ...long(100), priorityClass: 'interactive' }], 0)).toBeNull();
  });
});
