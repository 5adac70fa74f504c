import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ModelRuntime } from '../../src/engine/engine.js';
import { loadLlamaRuntime } from '../../src/engine/llama/load-llama-runtime.js';
import { greedySampling } from '../../src/engine/sampling-parameters.js';
import type { LocalServingCore } from '../../src/serving/local-serving-core.js';
import { requestFor, run, startCore } from '../support/core-client.js';
import { tinyModelPath } from '../support/models.js';

let runtime: ModelRuntime;
let core: LocalServingCore;
const faults: string[] = [];
beforeAll(async () => {
  runtime = await loadLlamaRuntime({
    modelPath: tinyModelPath,
    slots: 8,
    contextTokens: 512,
    batchTokens: 64,
    threads: 1,
  });
  core = startCore(runtime, { faults });
});
afterAll(async () => {
  await core.close(0);
  expect(faults).toEqual([expect.stringContaining('Sampler is disposed')]);
});

const ask = (text: string) => core.codec.renderChat([{ role: 'user', content: text }]);
const story = () => ask('Tell me a story about a fox in the rain.');

describe('the real addon under our tick loop', () => {
  it('answers in its chat template and stops by itself', async () => {
    const answer = await run(core, requestFor(core, story(), { maxTokens: null }));
    expect(answer.text[0]).toContain('fox');
    expect(answer.finished[0]).toMatchObject({ reason: 'stop' });
    expect(answer.finished[0]!.usage.completionTokens).toBe(answer.tokens[0]!.length + 1);
  });

  it('reuses the KV of the same prompt, with the same answer', async () => {
    const prompt = ask('Tell me a story about an owl in the snow.');
    // A short answer: to keep the KV of a long one, another slot may be worth computing the prompt again.
    const request = requestFor(core, prompt, { maxTokens: 4 });
    const cold = await run(core, request);
    const warm = await run(core, { ...request, id: 'warm' });
    expect(warm.tokens).toEqual(cold.tokens);
    expect(warm.finished[0]!.usage.cachedTokens).toBe(warm.finished[0]!.usage.promptTokens - 1);
  });

  it('never ends by itself when end tokens are banned', async () => {
    const sampling = { ...greedySampling, ignoreEndToken: true };
    const answer = await run(core, requestFor(core, story(), { maxTokens: 300, sampling }));
    expect(answer.finished[0]).toMatchObject({ reason: 'length' });
    expect(answer.tokens[0]).toHaveLength(300);
    for (const token of answer.tokens[0]!) expect(runtime.engine.endTokens.has(token)).toBe(false);
  });

  it('draws the same tokens from the same seed, alone or in company, and others from another seed', async () => {
    const sampling = { ...greedySampling, temperature: 1.5, seed: 42 };
    const seeded = () => requestFor(core, 'Once upon a time', { maxTokens: 40, sampling });
    const alone = await run(core, seeded());
    const company = [1, 2, 3, 4].map((seed) => ({ ...sampling, seed }));
    const [again, ...others] = await Promise.all([
      run(core, seeded()),
      ...company.map((own) =>
        run(core, requestFor(core, 'Once upon a time', { maxTokens: 40, sampling: own })),
      ),
    ]);
    expect(again!.tokens).toEqual(alone.tokens);
    expect(new Set(others.map(({ tokens }) => tokens.join())).size).toBe(4);
  });

  it('gives each of n choices its own seed', async () => {
    const sampling = { ...greedySampling, temperature: 1.5, seed: 7 };
    const answer = await run(
      core,
      requestFor(core, 'Once', { maxTokens: 40, sampling, choicesPerPrompt: 3 }),
    );
    expect(new Set(answer.tokens.map((tokens) => tokens.join())).size).toBe(3);
  });

  it('obeys a logit bias', async () => {
    const [forced] = core.codec.encode('!', false);
    const wanted = { ...greedySampling, logitBias: new Map([[forced!, 100]]) };
    const answer = await run(core, requestFor(core, story(), { maxTokens: 5, sampling: wanted }));
    expect(answer.tokens[0]).toEqual(Array(5).fill(forced));
  });

  it('repeats less under a frequency penalty', async () => {
    const [forced] = core.codec.encode('!', false);
    const sampling = {
      ...greedySampling,
      logitBias: new Map([[forced!, 20]]),
      frequencyPenalty: 2,
      ignoreEndToken: true,
    };
    const answer = await run(core, requestFor(core, story(), { maxTokens: 60, sampling }));
    const repeats = answer.tokens[0]!.filter((token) => token === forced).length;
    expect(repeats).toBeGreaterThan(0);
    expect(repeats).toBeLessThan(answer.tokens[0]!.length);
  });

  it('writes characters that span tokens whole', async () => {
    const emoji = '🦊';
    const tokens = [...core.codec.encode(emoji, false)];
    expect(tokens.length).toBeGreaterThan(1);
    expect(core.codec.decode(tokens, [])).toBe(emoji);
  });

  it('frees the slot of an aborted request and computes the next one right', async () => {
    const expected = await run(core, requestFor(core, story()));
    const aborted = requestFor(core, ask('Tell me a story about a bear in the sun.'), { maxTokens: 200 });
    core.submit(aborted, () => {});
    await new Promise((resolve) => setTimeout(resolve, 20));
    core.abort(aborted.id);
    expect((await run(core, requestFor(core, story()))).tokens).toEqual(expected.tokens);
    expect(core.stats()).toMatchObject({ running: 0, waiting: 0 });
  });

  it('prefills a prompt longer than the batch in chunks', async () => {
    const words = Array.from({ length: 60 }, () => 'the fox ran in the rain').join(' ');
    const prompt = core.codec.encode(words, false).slice(0, 300);
    const whole = await run(core, requestFor(core, '', { prompts: [prompt], maxTokens: 8 }));
    expect(whole.finished[0]!.usage.promptTokens).toBe(300);
    const again = await run(core, requestFor(core, '', { prompts: [prompt], maxTokens: 8 }));
    expect(again.tokens).toEqual(whole.tokens);
  });

  it('ends only the sequence whose row the addon refuses to sample', async () => {
    const { samplers } = runtime.engine as unknown as {
      samplers: { bySequence: Map<number, { dispose(): void }> };
    };
    const request = requestFor(core, story(), { maxTokens: 40, choicesPerPrompt: 3 });
    const undisturbed = await run(core, request);
    const finished = new Map<number, string>();
    const tokens: number[][] = [[], [], []];
    await new Promise<void>((resolve) => {
      core.submit({ ...request, id: 'sampler-gone' }, (event) => {
        if (event.type === 'finished') {
          finished.set(event.choice, event.reason);
          if (finished.size === 3) resolve();
        } else {
          tokens[event.choice]!.push(...event.tokens);
          if (event.choice === 1 && tokens[1]!.length === 5) [...samplers.bySequence.values()][1]!.dispose();
        }
      });
    });
    expect(finished.get(1)).toBe('error');
    expect(tokens[1]).toEqual(undisturbed.tokens[1]!.slice(0, tokens[1]!.length));
    for (const choice of [0, 2]) {
      expect(tokens[choice]).toEqual(undisturbed.tokens[choice]);
      expect(finished.get(choice)).toBe(undisturbed.finished[choice]!.reason);
    }
    expect(core.state).toBe('ready');
  });
});
