import { afterAll, beforeAll, expect, it } from 'vitest';
import type { Row } from '../../scheduler/index.js';
import { countPasses } from '../../scheduler/pass-count.js';
import { workOf } from '../../scheduler/work-of.js';
import type { ModelRuntime } from '../../src/engine/engine.js';
import { loadLlamaRuntime } from '../../src/engine/llama/load-llama-runtime.js';
import { tinyModelPath } from '../support/models.js';

// llama.cpp reads it when a context is made, and then reports the whole batch and every pass it cuts from it.
process.env.LLAMA_BATCH_DEBUG = '1';

const slots = 16;
const batchTokens = 64;
let runtime: ModelRuntime;
let reports = 0;

beforeAll(async () => {
  runtime = await loadLlamaRuntime({
    modelPath: tinyModelPath,
    slots,
    contextTokens: 256,
    batchTokens,
    threads: 1,
    onNativeLog: (message) => {
      reports += message.match(/n_seq_tokens/g)?.length ?? 0;
    },
  });
});
afterAll(() => runtime.engine.close());

/** Passes that llama.cpp makes for rows of this many tokens, by its own account. */
async function passesOf(
  tokensBySlot: ReadonlyMap<number, number>,
): Promise<{ predicted: number; actual: number }> {
  const rows: Row[] = [...tokensBySlot].map(([slot, count]) => ({
    sequenceId: slot,
    slot,
    firstPosition: 0,
    tokens: new Uint32Array(count).fill(300),
    sample: false,
  }));
  for (let slot = 0; slot < slots; slot += 1) runtime.engine.clearSlot(slot);
  const predicted = countPasses(rows, batchTokens);
  const before = reports;
  const plan = { tick: 0, operations: [], rows, work: workOf(rows, batchTokens), threads: 1 };
  expect((await runtime.engine.run(plan)).result.outcome).toBe('decoded');
  await expect.poll(() => reports, { interval: 5 }).toBeGreaterThan(before + 1);
  await new Promise((resolve) => setTimeout(resolve, 10));
  return { predicted, actual: reports - before - 1 };
}

it('predicts the passes that llama.cpp makes, for any layout of rows', async () => {
  let state = 12345;
  const random = (limit: number) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % limit;
  };
  const differing: unknown[] = [];
  for (let round = 0; round < 120; round += 1) {
    const tokensBySlot = new Map<number, number>();
    let left = batchTokens;
    let tokens = 1;
    for (let slot = 0; slot < slots && left > 0; slot += 1) {
      if (random(3) === 0) continue;
      // A third of the rows is as long as the row before.
      if (random(3) > 0 || tokens > left) tokens = random(2) === 0 ? 1 : 1 + random(Math.min(left, 24));
      tokensBySlot.set(slot, tokens);
      left -= tokens;
    }
    if (tokensBySlot.size === 0) continue;
    const { predicted, actual } = await passesOf(tokensBySlot);
    if (predicted !== actual) differing.push({ rows: [...tokensBySlot], predicted, actual });
  }
  expect(differing).toEqual([]);
});
