import { type Row, type TickPlan, type TickWork, workOf } from '../../scheduler/index.js';
import type { Engine } from '../engine/engine.js';
import { greedySampling } from '../engine/sampling-parameters.js';

/** One timed decode call. */
export interface Measurement {
  work: TickWork;
  threads: number;
  decodeMs: number;
}

interface Shape {
  rows: number;
  tokensEach: number;
  /** Distance between the slots of the rows; 2: every row is a pass of its own. */
  stride: 1 | 2;
}

export interface Calibration {
  measurements: Measurement[];
  /** Whether the compute threads had their cores to themselves; if not, the times are not worth keeping. */
  undisturbed: boolean;
}

export interface Clocks {
  /** Monotonic milliseconds. */
  nowMs: () => number;
  /** Milliseconds of processor time this process has used. */
  processorMs: () => number;
}

const rounds = 2;
/** Of each of the two sizes that tell what tokens beyond a multiple of four cost, in every round. */
const leftoverCalls = 2;
const evenTokens = 16;
const unevenTokens = 15;
const unevenLeftover = 3;
const chunkTokens = 64;
/** Spinning threads use all the processor time they are given. */
const undisturbedShare = 0.85;
/** More is a disturbed call. */
const mostShare = 6;
const noPrompt = new Uint32Array(0);

/** 1, 2, 4, ... and the most. */
export function threadChoicesUpTo(threads: number): number[] {
  const choices: number[] = [];
  for (let choice = 1; choice < threads; choice *= 2) choices.push(choice);
  return [...choices, threads];
}

/**
 * Times decode calls of a few shapes with every choice of threads, on slots nobody uses yet, and empties them again.
 * @param limitMs no further call starts after this; one that runs cannot be stopped
 */
export async function calibrate(
  engine: Engine,
  threadChoices: readonly number[],
  limitMs: number,
  { nowMs, processorMs }: Clocks,
): Promise<Calibration> {
  const slots = Array.from({ length: engine.slotCount }, (_, slot) => slot);
  const startedMs = nowMs();
  const measurements: Measurement[] = [];
  let wantedMs = 0;
  for (const slot of slots) engine.openSampler(samplerOf(slot), greedySampling, noPrompt);
  await engine.run(planOf(engine, { rows: 1, tokensEach: 1, stride: 1 }, threadChoices[0]!));
  const processorStartMs = processorMs();
  for (let round = 0; round < rounds; round += 1) {
    for (const shape of shapesFor(engine)) {
      for (const threads of threadChoices) {
        if (nowMs() - startedMs > limitMs) break;
        const plan = planOf(engine, shape, threads);
        const { result, timings } = await engine.run(plan);
        wantedMs += threads * timings.decodeMs;
        if (result.outcome === 'decoded') {
          measurements.push({ work: plan.work, threads, decodeMs: timings.decodeMs });
        }
      }
    }
  }
  const undisturbed = processorMs() - processorStartMs >= undisturbedShare * wantedMs;
  for (const slot of slots) {
    engine.closeSampler(samplerOf(slot));
    engine.clearSlot(slot);
  }
  return { measurements, undisturbed };
}

/**
 * How many times the cost of a token each one left over of a multiple of four costs (`Passes`), by the quickest calls;
 * null: not measured.
 */
export function leftoverShare(measurements: readonly Measurement[], threads: number): number | null {
  const quickestMs = (tokens: number) =>
    Math.min(
      ...measurements
        .filter(({ work, threads: of }) => of === threads && work.tokens === tokens && work.sampledRows === 1)
        .map(({ decodeMs }) => decodeMs),
    );
  const evenMs = quickestMs(evenTokens);
  const perTokenMs = (quickestMs(chunkTokens) - evenMs) / (chunkTokens - evenTokens);
  const leftoverMs = (quickestMs(unevenTokens) - evenMs + perTokenMs) / unevenLeftover;
  const share = leftoverMs / perTokenMs;
  return perTokenMs > 0 && Number.isFinite(share) ? Math.min(mostShare, Math.max(0, share)) : null;
}

function samplerOf(slot: number): number {
  return -1 - slot;
}

/** Small first, so that a slow model is stopped after a few. */
function shapesFor({ slotCount, batchTokens, contextTokens }: Engine): Shape[] {
  const longest = Math.max(1, Math.min(batchTokens, Math.floor(contextTokens / 8)));
  return [
    { rows: 1, tokensEach: 1, stride: 1 },
    { rows: Math.ceil(slotCount / 4), tokensEach: 1, stride: 1 },
    { rows: Math.min(4, Math.ceil(slotCount / 2)), tokensEach: 1, stride: 2 },
    { rows: slotCount, tokensEach: 1, stride: 1 },
    { rows: Math.max(1, slotCount - 1), tokensEach: 1, stride: 1 },
    ...Array.from({ length: leftoverCalls }, () => [
      { rows: 1, tokensEach: Math.min(evenTokens, longest), stride: 1 } as const,
      { rows: 1, tokensEach: Math.min(unevenTokens, longest), stride: 1 } as const,
    ]).flat(),
    { rows: 1, tokensEach: Math.min(chunkTokens, longest), stride: 1 },
    { rows: 1, tokensEach: Math.min(256, longest), stride: 1 },
  ];
}

function planOf(engine: Engine, shape: Shape, threads: number): TickPlan {
  const { stride, tokensEach } = shape;
  const rows: Row[] = Array.from({ length: shape.rows }, (_, index) => {
    const slot = index * stride;
    if (engine.slotTokens(slot) + tokensEach > engine.contextTokens) engine.clearSlot(slot);
    const firstPosition = engine.slotTokens(slot);
    const tokens = new Uint32Array(tokensEach).fill(1);
    return { sequenceId: samplerOf(slot), slot, firstPosition, tokens, sample: true };
  });
  return { tick: 0, operations: [], rows, work: workOf(rows, engine.batchTokens), threads };
}
