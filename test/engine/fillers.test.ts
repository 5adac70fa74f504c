import { afterAll, beforeAll, expect, it } from 'vitest';
import { type Filler, type Row, workOf } from '../../scheduler/index.js';
import type { ModelRuntime } from '../../src/engine/engine.js';
import { loadLlamaRuntime } from '../../src/engine/llama/load-llama-runtime.js';
import { greedySampling } from '../../src/engine/sampling-parameters.js';
import { tinyModelPath } from '../support/models.js';

const batchTokens = 64;
const promptTokens = 6;
let runtime: ModelRuntime;

beforeAll(async () => {
  const shape = { slots: 4, contextTokens: 64, batchTokens, threads: 1 };
  runtime = await loadLlamaRuntime({ modelPath: tinyModelPath, ...shape });
  for (let slot = 0; slot < 4; slot += 1) {
    runtime.engine.openSampler(slot, greedySampling, new Uint32Array(0));
  }
});
afterAll(() => runtime.engine.close());

async function run(rows: Row[], fillers: Filler[] = []): Promise<readonly number[]> {
  const work = workOf(rows, batchTokens, fillers);
  const { result } = await runtime.engine.run({ tick: 1, operations: [], rows, fillers, work, threads: 1 });
  if (result.outcome !== 'decoded') throw new Error(JSON.stringify(result));
  return result.sampledTokens;
}

function row(slot: number, firstPosition: number, tokens: number): Row {
  const drawn = Uint32Array.from({ length: tokens }, (_, index) => 300 + 17 * slot + firstPosition + index);
  return { sequenceId: slot, slot, firstPosition, tokens: drawn, sample: true };
}

/** What slots 0 to 2 answer after a call in which only 0 and 2 had a row. */
async function answersAfter(fillers: Filler[]): Promise<readonly number[]> {
  for (let slot = 0; slot < 4; slot += 1) runtime.engine.clearSlot(slot);
  await run([row(0, 0, promptTokens), row(1, 0, promptTokens), row(2, 0, promptTokens)]);
  await run([row(0, promptTokens, 1), row(2, promptTokens, 1)], fillers);
  expect([0, 1, 2, 3].map((slot) => runtime.engine.slotTokens(slot))).toEqual([7, promptTokens, 7, 0]);
  return run([row(1, promptTokens, 3)]);
}

it('a filler leaves no trace in its slot, be it empty or not', async () => {
  const without = await answersAfter([]);
  const fillers = [
    { slot: 1, position: promptTokens, tokens: 1 },
    { slot: 3, position: 0, tokens: 2 },
  ];
  expect(await answersAfter(fillers)).toEqual(without);
});

it('fillers behind a chunk of prompt leave no trace: neither in its answer nor in its slot', async () => {
  const answers = async (fillers: Filler[]) => {
    for (let slot = 0; slot < 4; slot += 1) runtime.engine.clearSlot(slot);
    const first = await run([row(0, 0, 1), row(1, 0, 13)], fillers);
    expect([0, 1].map((slot) => runtime.engine.slotTokens(slot))).toEqual([1, 13]);
    return [first, await run([row(0, 1, 2), row(1, 13, 2)])];
  };
  expect(await answers([{ slot: 1, position: 13, tokens: 3 }])).toEqual(await answers([]));
});

it('says every token once, before the call is over', async () => {
  for (let slot = 0; slot < 4; slot += 1) runtime.engine.clearSlot(slot);
  const rows = [
    row(0, 0, promptTokens),
    { ...row(1, 0, promptTokens), sample: false },
    row(2, 0, promptTokens),
  ];
  const heard: [sequenceId: number, token: number][] = [];
  const plan = { tick: 1, operations: [], rows, work: workOf(rows, batchTokens), threads: 1 };
  const { result } = await runtime.engine.run(plan, (...token) => heard.push(token));
  if (result.outcome !== 'decoded') throw new Error(JSON.stringify(result));
  // With several threads in the pool, rows are sampled in any order.
  heard.sort(([left], [right]) => left - right);
  expect(heard).toEqual([0, 2].map((index) => [index, result.sampledTokens[index]]));
});
