import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import type { ModelRuntime } from '../../src/engine/engine.js';
import { loadLlamaRuntime } from '../../src/engine/llama/load-llama-runtime.js';
import { createSimulatedRuntime } from '../../src/engine/simulated/simulated-engine.js';
import { answersOf, holdConversations, reusedShare, type Talk } from '../support/conversations.js';
import { startCore } from '../support/core-client.js';
import { tinyModelPath } from '../support/models.js';

const shape = { slotCount: 8, contextTokens: 512, batchTokens: 256 };
const file = new URL('../../src/models/tiny/heldout-prompts.json', import.meta.url);
const { batchPrompts } = JSON.parse(readFileSync(file, 'utf8')) as { batchPrompts: string[] };

/**
 * These models compute a prompt faster than any file is read, so operations are said to cost nothing: less than the
 * least that the cost model may learn of a token, even where a busy machine makes files seem a hundred times slower.
 */
function withFreeOperations(runtime: ModelRuntime, reusePrefixes: boolean): ModelRuntime {
  const operationCosts = { copyMs: 1e-6, fileMs: 1e-6, saveMsPerToken: 1e-9, restoreMsPerToken: 1e-9 };
  Object.assign(runtime.engine, {
    slotAbilities: { ...runtime.engine.slotAbilities, operationCosts, reusePrefixes },
  });
  return runtime;
}

function simulated(reusePrefixes: boolean): ModelRuntime {
  const cost = { perPassMs: 0.1, perTokenMs: 0.002, perContextTokenMs: 0 };
  const runtime = createSimulatedRuntime({
    ...shape,
    cost,
    meanLengthTokens: 1e9,
    snapshotBytes: 64 * 1024 * 1024,
  });
  return withFreeOperations(runtime, reusePrefixes);
}

const talk: Talk = {
  conversations: 64,
  turns: 4,
  systemText: 'You tell stories to children.',
  utterances: batchPrompts,
  answerTokens: 10,
  seed: 5,
};

it('64 conversations of 4 turns over 8 slots: prompts come from cache, answers are those of a cold server', async () => {
  const short = { ...talk, utterances: batchPrompts.map((text) => text.slice(0, 60)) };
  const warm = startCore(simulated(true));
  const conversations = await holdConversations(warm, short);
  const { cache } = warm.stats();
  await warm.close(0);
  const cold = startCore(simulated(false));
  const turns = conversations.flat();
  expect(await answersOf(cold, turns, short.answerTokens)).toEqual(turns.map(({ answer }) => answer));
  expect(cold.stats().cache.hitTokens).toMatchObject({ 'in-place': 0, copy: 0, snapshot: 0 });
  await cold.close(0);
  expect(reusedShare(conversations)).toBeGreaterThanOrEqual(0.9);
  const hits = Object.values(cache.hitTokens).reduce((sum, tokens) => sum + tokens, 0);
  expect(hits).toBe(turns.reduce((sum, { cachedTokens }) => sum + cachedTokens, 0));
  expect(cache.hitTokens.snapshot).toBeGreaterThan(0);
}, 60_000);

it('the same with the tiny model and real files', { timeout: 120_000 }, async () => {
  const snapshotDirectory = mkdtempSync(join(tmpdir(), 'multi-turn-'));
  const { slotCount, ...rest } = shape;
  const options = { modelPath: tinyModelPath, slots: slotCount, ...rest, threads: 1, snapshotDirectory };
  const load = () => loadLlamaRuntime({ ...options, snapshotBytes: 256 * 1024 * 1024 });
  const warm = startCore(withFreeOperations(await load(), true));
  const conversations = await holdConversations(warm, talk);
  const { cache } = warm.stats();
  await warm.close(0);
  expect(readdirSync(snapshotDirectory)).toEqual([]);
  rmSync(snapshotDirectory, { recursive: true });
  expect(reusedShare(conversations)).toBeGreaterThanOrEqual(0.9);
  expect(cache.evictions).toMatchObject({ 'snapshot-failed': 0, lost: 0 });
  const cold = startCore(withFreeOperations(await load(), false));
  const turns = conversations.flat();
  const answers = await answersOf(cold, turns, talk.answerTokens);
  await cold.close(0);
  const different = turns.filter(({ answer }, index) => answer.join() !== answers[index]!.join());
  console.log(
    `${different.length} of ${turns.length} answers differ: calls of other sizes round differently; ` +
      `${(100 * reusedShare(conversations)).toFixed(1)}% of reusable prompt tokens from cache`,
  );
  // Bit-exactness of reuse itself is proven in test/engine/reuse-exactness.test.ts.
  expect(different.length).toBeLessThanOrEqual(turns.length * 0.05);
});
