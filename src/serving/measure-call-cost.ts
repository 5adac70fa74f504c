import { type Row, type SlotOperation, type TickPlan, workOf } from '../../scheduler/index.js';
import type { Engine } from '../engine/engine.js';
import { greedySampling } from '../engine/sampling-parameters.js';
import { type CallCost, featuresOf, fitCallCost, type TimedCall } from './call-cost.js';

/** What a slot holds before the call, and how many tokens it gets in it. */
interface ShapeRow {
  slot: number;
  depth: number;
  tokens: number;
}

export interface MeasureOptions {
  threadChoices: readonly number[];
  /** Shared by all shapes; each is timed at least twice, so a slow model takes longer. */
  limitMs: number;
  nowMs: () => number;
}

const mostRepeats = 16;
const decodeShares = [1 / 4, 1 / 2, 1];
const chunkTokens = [16, 48, 128, Number.POSITIVE_INFINITY];
const noPrompt = new Uint32Array(0);

/**
 * Times calls of many shapes on an engine that nobody uses: decoding of few and many rows at the beginning
 * and deep in the window, prefill of short and long chunks there, both together, and rows with holes between
 * them. Of the thread choices the one that was fastest at first is repeated, as the scheduler would. The
 * slots are empty afterwards.
 */
export async function measureCallCost(engine: Engine, options: MeasureOptions): Promise<CallCost> {
  const slots = Array.from({ length: engine.slotCount }, (_, slot) => slot);
  for (const slot of slots) engine.openSampler(samplerOf(slot), greedySampling, noPrompt);
  const calls: TimedCall[] = [];
  const deepest = await fillSlots(engine, options);
  const shapes = shapesFor(engine, deepest);
  for (const shape of shapes) calls.push(...(await timeShape(engine, shape, shapes.length, options)));
  for (const slot of slots) {
    engine.closeSampler(samplerOf(slot));
    engine.clearSlot(slot);
  }
  return fitCallCost(calls);
}

/** @returns how many tokens every slot holds: most of the window, unless that takes too long or cannot be cut again */
async function fillSlots(engine: Engine, options: MeasureOptions): Promise<number> {
  const { contextTokens, batchTokens, slotCount, slotAbilities } = engine;
  const wanted = slotAbilities.reusePrefixes ? Math.floor((contextTokens * 3) / 4) : 0;
  const untilMs = options.nowMs() + options.limitMs / 4;
  const threads = options.threadChoices.at(-1)!;
  let depth = 0;
  while (depth < wanted && options.nowMs() < untilMs) {
    const tokens = Math.min(batchTokens, wanted - depth);
    await engine.run(planOf(engine, [{ slot: 0, depth, tokens }], threads));
    depth += tokens;
  }
  if (depth === 0) return 0;
  const copies = Array.from(
    { length: slotCount - 1 },
    (_, index): SlotOperation => ({ kind: 'copy', fromSlot: 0, toSlot: index + 1, keepTokens: depth }),
  );
  const plan = planOf(engine, [{ slot: 0, depth, tokens: 1 }], threads);
  await engine.run({ ...plan, operations: copies });
  return depth;
}

/** Depths never rise, so that each slot only has to be cut. */
function shapesFor({ slotCount, contextTokens, batchTokens }: Engine, deepest: number): ShapeRow[][] {
  const counts = [...new Set([1, 2, ...decodeShares.map((share) => Math.ceil(slotCount * share))])].filter(
    (count) => count <= slotCount,
  );
  const middle = Math.min(deepest, Math.floor(contextTokens / 2));
  const quarter = Math.min(deepest, Math.floor(contextTokens / 4));
  const decode = (count: number, depth: number, stride = 1): ShapeRow[] =>
    Array.from({ length: count }, (_, index) => ({ slot: index * stride, depth, tokens: 1 }));
  const chunks = (depth: number) => {
    const longest = Math.min(batchTokens, contextTokens - depth - 1);
    return [...new Set(chunkTokens.map((tokens) => Math.min(tokens, longest)))];
  };
  const last = slotCount - 1;
  const half = Math.ceil(slotCount / 2);
  const mixed = (decoding: number, tokens: number) => [
    ...decode(Math.min(decoding, last), quarter),
    { slot: last, depth: 0, tokens: Math.min(tokens, batchTokens - slotCount, contextTokens - 1) },
  ];
  return [
    ...counts.map((count) => decode(count, deepest)),
    ...chunks(middle).map((tokens) => [{ slot: 0, depth: middle, tokens }]),
    ...counts.map((count) => decode(count, quarter)),
    decode(half, quarter, 2),
    ...chunkTokens.flatMap((tokens) => [mixed(half, tokens), mixed(last, tokens)]),
    ...counts.map((count) => decode(count, 0)),
    ...chunks(0).map((tokens) => [{ slot: 0, depth: 0, tokens }]),
  ].filter((rows) => rows.every(({ tokens }) => tokens > 0));
}

async function timeShape(
  engine: Engine,
  shape: readonly ShapeRow[],
  shapeCount: number,
  { threadChoices, limitMs, nowMs }: MeasureOptions,
): Promise<TimedCall[]> {
  const name = shape.map(({ slot, depth, tokens }) => `${slot}@${depth}+${tokens}`).join(' ');
  const time = async (threads: number): Promise<TimedCall> => {
    const plan = planOf(engine, shape, threads);
    const startMs = nowMs();
    await engine.run(plan);
    return { shape: name, features: featuresOf(plan), wallMs: nowMs() - startMs };
  };
  const untilMs = nowMs() + limitMs / shapeCount;
  let best: { threads: number; call: TimedCall } | null = null;
  for (const threads of threadChoices) {
    const call = await time(threads);
    if (best === null || call.wallMs < best.call.wallMs) best = { threads, call };
  }
  const calls = [best!.call];
  do calls.push(await time(best!.threads));
  while (calls.length < mostRepeats && nowMs() < untilMs);
  return calls;
}

function samplerOf(slot: number): number {
  return -1 - slot;
}

function planOf(engine: Engine, shape: readonly ShapeRow[], threads: number): TickPlan {
  const operations: SlotOperation[] = [];
  const rows = shape.map(({ slot, depth, tokens }): Row => {
    if (engine.slotTokens(slot) > depth) operations.push({ kind: 'truncate', slot, keepTokens: depth });
    const row = { sequenceId: samplerOf(slot), slot, firstPosition: depth, sample: true };
    return { ...row, tokens: new Uint32Array(tokens).fill(1) };
  });
  const work = workOf(rows, engine.batchTokens);
  return { tick: 0, operations, rows, work, threads };
}
