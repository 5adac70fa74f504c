import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { loadLlamaRuntime } from '../../src/engine/llama/load-llama-runtime.js';
import { greedySampling } from '../../src/engine/sampling-parameters.js';
import type { GenerationEvent } from '../../src/serving/serving-core.js';
import { type Answer, requestFor, run, startCore } from '../support/core-client.js';
import { tinyModelPath } from '../support/models.js';

const waysBack = [
  ['from its snapshot', 1e9, { saved: 1, left: 0 }],
  ['computed again', 0, { saved: 0, left: 1 }],
] as const;

it.each(waysBack)(
  'a preempted request says what it would have said undisturbed, %s',
  async (_, bytes, counts) => {
    const directory = mkdtempSync(join(tmpdir(), 'preemption-'));
    const shape = { slots: 1, contextTokens: 384, batchTokens: 384, threads: 1 };
    const runtime = await loadLlamaRuntime({
      modelPath: tinyModelPath,
      ...shape,
      snapshotDirectory: directory,
      snapshotBytes: bytes,
    });
    // The tiny model computes so fast that only cheap files pay.
    const operationCosts = { copyMs: 1, fileMs: 1e-6, saveMsPerToken: 1e-9, restoreMsPerToken: 1e-9 };
    Object.assign(runtime.engine, { slotAbilities: { ...runtime.engine.slotAbilities, operationCosts } });
    const faults: string[] = [];
    const core = startCore(runtime, { faults });
    const ask = (text: string) => core.codec.renderChat([{ role: 'user', content: text }]);
    const story = ask('Tell me a story about a fox in the rain.');
    for (const sampling of [
      { ...greedySampling, ignoreEndToken: true },
      { ...greedySampling, ignoreEndToken: true, temperature: 1.5, seed: 3 },
    ]) {
      const options = { maxTokens: 60, sampling, priorityClass: 'batch' as const };
      const undisturbed = await run(core, requestFor(core, story, { ...options, cacheSalt: 'alone' }));
      const before = { ...core.stats().preemptions };
      let urgent: Promise<Answer> | undefined;
      const request = requestFor(core, story, { ...options, cacheSalt: `${bytes} ${sampling.seed}` });
      const tokens: number[] = [];
      const end = await new Promise<Extract<GenerationEvent, { type: 'finished' }>>((resolve) => {
        core.submit(request, (event) => {
          if (event.type === 'finished') resolve(event);
          else if (tokens.push(...event.tokens) === 20) {
            urgent = run(core, requestFor(core, ask('What does the owl eat?'), { maxTokens: 10, sampling }));
          }
        });
      });
      expect(tokens).toEqual(undisturbed.tokens[0]);
      expect(end).toMatchObject({ reason: 'length', usage: { completionTokens: 60, cachedTokens: 0 } });
      expect((await urgent!).tokens[0]).toHaveLength(10);
      const after = core.stats().preemptions;
      expect({ saved: after.saved - before.saved, left: after.left - before.left }).toEqual(counts);
    }
    await core.close(0);
    rmSync(directory, { recursive: true });
    expect(faults).toEqual([]);
  },
);
