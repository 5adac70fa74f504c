import { readFileSync, statSync } from 'node:fs';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { ModelRuntime } from '../../src/engine/engine.js';
import { loadLlamaRuntime } from '../../src/engine/llama/load-llama-runtime.js';
import type { LocalServingCore } from '../../src/serving/local-serving-core.js';
import { requestFor, run, startCore } from '../support/core-client.js';
import { tinyModelPath } from '../support/models.js';

interface HeldOutStory {
  prompt: string;
  animal: string;
  weather: string;
  place: string;
}

const file = new URL('../../src/models/tiny/heldout-prompts.json', import.meta.url);
const { heldOutStories } = JSON.parse(readFileSync(file, 'utf8')) as { heldOutStories: HeldOutStory[] };

let runtime: ModelRuntime;
let core: LocalServingCore;
beforeAll(async () => {
  runtime = await loadLlamaRuntime({
    modelPath: tinyModelPath,
    slots: 32,
    contextTokens: 512,
    batchTokens: 512,
    threads: 1,
  });
  core = startCore(runtime);
});
afterAll(() => core.close(0));

const ask = (text: string) =>
  run(core, requestFor(core, core.codec.renderChat([{ role: 'user', content: text }]), { maxTokens: 300 }));

it('is at most 3 MB', () => {
  expect(statSync(tinyModelPath).size).toBeLessThan(3_000_000);
});

it('tells the story that was asked for in at least 90 of 100 combinations it never saw, and stops by itself', async () => {
  const answers = await Promise.all(heldOutStories.map(({ prompt }) => ask(prompt)));
  const isAbout = ({ animal, weather, place }: HeldOutStory, text: string) =>
    [animal, weather, place].every((word) => text.includes(word));
  const right = heldOutStories.filter((story, index) => isAbout(story, answers[index]!.text[0]!));
  expect(heldOutStories).toHaveLength(100);
  expect(right.length).toBeGreaterThanOrEqual(90);
  expect(answers.filter(({ finished }) => finished[0]!.reason === 'stop').length).toBeGreaterThanOrEqual(98);
});

it('says that it knows nothing else', async () => {
  const { text } = await ask('What is the capital of France?');
  expect(text[0]).toMatch(/small model/);
});

it('spells special tokens, which its answers leave out', () => {
  const { codec } = core;
  const text = codec.renderChat([{ role: 'user', content: 'Hello.' }]);
  const tokens = Array.from(codec.encode(text, true));
  expect(text).toContain('<|im_start|>');
  expect(codec.spell(tokens)).toBe(text);
  expect(codec.decode(tokens, [])).not.toContain('<|');
  expect(codec.spell([])).toBe('');
});

it('completes raw text', async () => {
  const { text } = await run(
    core,
    requestFor(core, 'Once upon a time there was a red fox named', { maxTokens: 40 }),
  );
  expect(text[0]).toMatch(/Finn/);
});

it('brings any text back from its tokens', () => {
  for (const text of ['Grüße, 世界!', '🦊 runs', 'tab\tand\nline', '\u0000\u0001']) {
    expect(core.codec.decode([...core.codec.encode(text, false)], [])).toBe(text);
  }
});
