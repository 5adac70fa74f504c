import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { loadLlamaRuntime } from '../../src/engine/llama/load-llama-runtime.js';
import { greedySampling } from '../../src/engine/sampling-parameters.js';
import { requestFor, run, startCore } from '../support/core-client.js';
import { SeededRandom } from '../support/seeded-random.js';
import { writeSlidingWindowModel } from './support/random-models.js';

const random = new SeededRandom(7);
const draw = (length: number) => Array.from({ length }, () => 4 + random.below(1200));

it('reuses of a sliding window that the file does not tell of only what is whole', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'window-'));
  const modelPath = join(directory, 'random.gguf');
  // The window is as long as the trained context, and so counts as none.
  await writeSlidingWindowModel(modelPath, 2, { windowTokens: 64, trainedTokens: 64 });
  const open = () =>
    loadLlamaRuntime({ modelPath, slots: 1, contextTokens: 1024, batchTokens: 128, threads: 1 });
  const sampling = { ...greedySampling, ignoreEndToken: true };
  const answer = async (core: ReturnType<typeof startCore>, tokens: number[]) => {
    const prompts = [Uint32Array.from(tokens)];
    const { tokens: said, finished } = await run(
      core,
      requestFor(core, '', { prompts, sampling, maxTokens: 4 }),
    );
    return { said: said[0], cachedTokens: finished[0]!.usage.cachedTokens };
  };
  // The lane of the window has 256 cells, so the first 48 positions are gone: half of what the branch needs.
  const long = draw(300);
  const branch = [...long.slice(0, 80), ...draw(20)];
  const twig = [...branch.slice(0, 90), ...draw(5)];

  const runtime = await open();
  expect(runtime.engine.slotAbilities.reusePrefixes).toBe(true);
  const faults: string[] = [];
  const core = startCore(runtime, { faults });
  await answer(core, long);
  const answers = [await answer(core, branch), await answer(core, twig)];
  await core.close(0);

  const fresh = [];
  for (const prompt of [branch, twig]) {
    const unused = startCore(await open());
    fresh.push((await answer(unused, prompt)).said);
    await unused.close(0);
  }
  rmSync(directory, { recursive: true });
  expect(answers.map(({ said }) => said)).toEqual(fresh);
  expect(answers.map(({ cachedTokens }) => cachedTokens)).toEqual([0, 90]);
  expect(faults).toEqual([]);
});
