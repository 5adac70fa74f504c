import { describe, expect, it } from 'vitest';
import { bulkShare } from '../../scheduler/bulk-sharing.js';
import type { SequenceSpec, TickWork } from '../../scheduler/index.js';
import { automaticItlFactor } from '../../scheduler/policy.js';
import type { Scheduler } from '../../scheduler/scheduler.js';
import { makeScheduler, prompt, spec, teachCosts } from './support.js';

const cost = { perPassMs: 5, perTokenMs: 1, perSampledRowMs: 1 };
const costOf = ({ passes, tokens, sampledRows }: TickWork) =>
  cost.perPassMs * passes + cost.perTokenMs * tokens + cost.perSampledRowMs * sampledRows;

interface Options {
  itlTargetMs?: number | null;
  batchTokens?: number;
  slotCount?: number;
}

/** On a machine whose costs are known exactly. */
function withKnownCosts(options: Options = {}): Scheduler {
  const { itlTargetMs = null, batchTokens = 256, slotCount = 8 } = options;
  const config = { slotCount, contextTokens: 400, batchTokens, maxWaiting: 32, maxWaitingTokens: 8000 };
  const scheduler = makeScheduler(config, { itlTargetMs });
  const shapes = [
    { tokens: 1 },
    { tokens: 8, sampledRows: 8 },
    { tokens: 4, sampledRows: 4, passes: 4 },
    { tokens: 64 },
    { tokens: 128 },
  ];
  teachCosts(scheduler, shapes, costOf);
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
    let { plan, holdMs } = scheduler.planTick(clockMs);
    clockMs += holdMs;
    if (holdMs > 0) plan = scheduler.planTick(clockMs).plan;
    if (!plan) throw new Error('nothing was planned');
    const ms = costOf(plan.work);
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
    const alone = withKnownCosts();
    alone.submit([reader(1)], 0);
    const scheduler = withKnownCosts();
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

  it('sits out a prefill and the decode after it, unless its credit is full', () => {
    const scheduler = withKnownCosts();
    scheduler.submit([reader(1), bulk(2), bulk(3)], 0);
    run(scheduler, 40);
    const ridesAfter: number[] = [];
    for (let id = 10; id < 40; id += 1) {
      scheduler.submit([reader(id, { prompt: prompt(30, id * 1000), maxTokens: 4 })], 0);
      const [prefill, decode] = run(scheduler, 8);
      expect([...prefill!.tokens.keys()]).toEqual([id]);
      expect(decode!.tokens.get(1)).toBe(1);
      ridesAfter.push([2, 3].filter((each) => decode!.tokens.has(each)).length);
    }
    expect(ridesAfter.filter((rides) => rides > 0).length).toBeLessThan(0.1 * ridesAfter.length);
  });

  it('sits out a prompt that comes when no reader decodes', () => {
    for (let maxTokens = 2; maxTokens < 20; maxTokens += 1) {
      const scheduler = withKnownCosts({ slotCount: 32 });
      const short = (id: number) => bulk(id, { prompt: prompt(2, id * 1000) });
      scheduler.submit([reader(1, { maxTokens }), short(2), short(3)], 0);
      run(scheduler, 40);
      scheduler.submit([reader(4, { prompt: prompt(50, 4000) })], 0);
      expect([...run(scheduler, 1)[0]!.tokens.keys()]).toEqual([4]);
    }
  });

  it('never makes a tick longer than a full decode while its credit lasts for more than one', () => {
    const scheduler = withKnownCosts();
    scheduler.submit([reader(1)], 0);
    run(scheduler, 1);
    scheduler.submit(
      [2, 3, 4, 5].map((id) => bulk(id)),
      0,
    );
    const fullDecodeMs = scheduler.itlTargetMs / automaticItlFactor;
    expect(Math.max(...run(scheduler, 200).map(({ ms }) => ms))).toBeLessThanOrEqual(1.1 * fullDecodeMs);
  });

  it('fills an ITL target that was asked for', () => {
    const scheduler = withKnownCosts({ itlTargetMs: 100 });
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
    const scheduler = withKnownCosts({ itlTargetMs: 0 });
    scheduler.submit([reader(1), ...[2, 3].map((id) => bulk(id))], 0);
    expect(run(scheduler, 2).map(({ tokens }) => tokens.size)).toEqual([3, 3]);
  });
});

describe('bulk work alone', () => {
  it('gets whole prompts and full batches', () => {
    const scheduler = withKnownCosts();
    scheduler.submit(
      [2, 3, 4, 5].map((id) => bulk(id)),
      0,
    );
    expect([...run(scheduler, 1)[0]!.tokens.values()]).toEqual([40, 40, 40, 40]);
  });

  it('keeps its ticks short for a while after a reader has left', () => {
    const scheduler = withKnownCosts();
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

  it('decodes by turns for that while, a quarter of the slots at a time', () => {
    const scheduler = withKnownCosts();
    const ids = [2, 3, 4, 5, 6, 7, 8];
    scheduler.submit(
      ids.map((id) => bulk(id, { prompt: prompt(2, id * 1000) })),
      0,
    );
    run(scheduler, 1);
    scheduler.submit([reader(1, { maxTokens: 1 })], 0);
    run(scheduler, 1);
    scheduler.submit([bulk(9, { prompt: prompt(390, 9000), maxTokens: 1 })], 0);
    const ticks = run(scheduler, 70);
    const fifthMs = 0.2 * (scheduler.itlTargetMs / automaticItlFactor);
    for (const { ms, tokens } of ticks) if (tokens.size > 1) expect(ms).toBeLessThanOrEqual(fifthMs);
    const calls = ids.map((id) => ticks.filter(({ tokens }) => tokens.has(id)).length);
    expect(Math.min(...calls)).toBeGreaterThan(0);
    expect(Math.max(...calls) - Math.min(...calls)).toBeLessThanOrEqual(1);
    expect(run(scheduler, 1, 60_000)[0]!.tokens.size).toBe(ids.length);
  });

  it('closes gaps between its rows with tokens of prompts that wait', () => {
    const scheduler = withKnownCosts({ slotCount: 32 });
    const short = (id: number) => bulk(id, { prompt: prompt(2, id * 1000) });
    scheduler.submit([reader(1, { maxTokens: 1 })], 0);
    run(scheduler, 1);
    scheduler.submit([short(2), bulk(3, { prompt: prompt(300, 3000), maxTokens: 9 }), short(4)], 0);
    const decodes = run(scheduler, 20).filter(({ tokens }) => tokens.has(2) && tokens.has(4));
    expect(decodes.length).toBeGreaterThan(3);
    for (const { tokens } of decodes) expect(tokens.get(3)).toBe(1);
  });
});

describe('a line that bulk work would fill', () => {
  it('keeps half of its room for others', () => {
    const scheduler = withKnownCosts();
    const ids = Array.from({ length: 60 }, (_, index) => index + 1);
    const taken = ids.filter((id) => scheduler.submit([bulk(id)], 0) === null);
    expect(taken).toHaveLength(8 + 16);
    expect(scheduler.submit([bulk(100)], 0)).toMatchObject({ reason: 'waiting' });
    expect(scheduler.submit([reader(101)], 0)).toBeNull();
  });

  it('takes tokens of bulk work up to half', () => {
    const scheduler = withKnownCosts();
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
