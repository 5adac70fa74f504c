import { afterEach, beforeEach, expect, test } from 'vitest';
import { numberParameters } from '../../src/http/parameters/number-parameters.js';
import type { GenerationRequest } from '../../src/serving/serving-core.js';
import { get, post } from '../support/http-client.js';
import { type HttpTestServer, startHttpServer } from '../support/http-test-server.js';
import { ScriptedCore } from '../support/scripted-core.js';

let core: ScriptedCore;
let server: HttpTestServer;

beforeEach(async () => {
  core = new ScriptedCore();
  server = await startHttpServer(core);
});

afterEach(() => server.close());

/** Sends a body, ends the generation at once and returns what the core was asked. */
async function submitted(path: string, body: object | string): Promise<GenerationRequest> {
  const arrival = core.nextRequest();
  const reply = post(server.url + path, body);
  const first = await Promise.race([arrival, reply]);
  if (!('emit' in first)) throw new Error(`refused: ${first.text}`);
  const { request, emit } = first;
  const choices = request.prompts.length * request.choicesPerPrompt;
  const usage = { promptTokens: 1, cachedTokens: 0, completionTokens: 0 };
  for (let choice = 0; choice < choices; choice++) emit({ type: 'finished', choice, reason: 'stop', usage });
  expect((await reply).status).toBe(200);
  return request;
}

const chatText = (request: GenerationRequest) =>
  Buffer.from((request.prompts[0] as Uint32Array).slice(1)).toString('utf8');
const messages = [{ role: 'user', content: 'hi' }];
const chat = (fields: object) => submitted('/v1/chat/completions', { messages, ...fields });

test('defaults are OpenAI’s', async () => {
  const request = await chat({});
  expect(request).toMatchObject({
    choicesPerPrompt: 1,
    maxTokens: null,
    stopStrings: [],
    priorityClass: 'interactive',
    tenant: 'anonymous',
    queueTimeoutMs: 30_000,
  });
  expect(request.sampling).toMatchObject({
    temperature: 1,
    topP: 1,
    topK: 0,
    minP: 0,
    presencePenalty: 0,
    frequencyPenalty: 0,
    repetitionPenalty: 1,
    ignoreEndToken: false,
  });
  expect(request.sampling.seed).not.toBe((await chat({})).sampling.seed);
});

test('every field may be null, and unknown fields are ignored', async () => {
  const names =
    'model stop stream stream_options logit_bias ignore_eos user tools tool_choice response_format logprobs';
  const nulls = [...names.split(' '), ...Object.keys(numberParameters)].map((name) => [name, null]);
  const request = await chat({ ...Object.fromEntries(nulls), nonsense: { deep: [1] }, store: true });
  expect(request.sampling.temperature).toBe(1);
});

test('values that ask for nothing special are accepted', async () => {
  await chat({ tools: [], tool_choice: 'auto', response_format: { type: 'text' }, logprobs: false });
  await chat({ top_logprobs: 0, modalities: ['text'], functions: [], function_call: 'none', stop: [], n: 1 });
  await submitted('/v1/completions', { prompt: 'a', echo: false, suffix: '', best_of: 1, logprobs: null });
});

test('all sampling fields reach the core', async () => {
  const request = await chat({
    temperature: 0.5,
    top_p: 0.9,
    top_k: 40,
    min_p: 0.05,
    seed: 42,
    presence_penalty: 0.1,
    frequency_penalty: -0.2,
    repeat_penalty: 1.1,
    logit_bias: { 7: -100, 299: 5.5 },
    ignore_eos: true,
    stop: ['a', 'b'],
    max_tokens: 9,
    n: 3,
  });
  expect(request).toMatchObject({ stopStrings: ['a', 'b'], maxTokens: 9, choicesPerPrompt: 3 });
  expect(request.sampling).toEqual({
    temperature: 0.5,
    topP: 0.9,
    topK: 40,
    minP: 0.05,
    seed: 42,
    presencePenalty: 0.1,
    frequencyPenalty: -0.2,
    repetitionPenalty: 1.1,
    logitBias: new Map([
      [7, -100],
      [299, 5.5],
    ]),
    ignoreEndToken: true,
  });
});

test('edge values become harmless ones', async () => {
  const body = '{"messages":[{"role":"user","content":"x"}],"temperature":-0,"top_p":0,"top_k":-1,"seed":-7}';
  const { sampling } = await submitted('/v1/chat/completions', body);
  expect(Object.is(sampling.temperature, 0)).toBe(true);
  expect(sampling.topP).toBeGreaterThan(0);
  expect(sampling.topK).toBe(0);
  expect(sampling.seed).toBe(2 ** 31 - 7);
  expect((await chat({ top_k: 1_000_000 })).sampling.topK).toBe(300);
});

test('the newer names win over the older ones', async () => {
  expect((await chat({ max_tokens: 3, max_completion_tokens: 5 })).maxTokens).toBe(5);
  expect((await chat({ repeat_penalty: 2, repetition_penalty: 3 })).sampling.repetitionPenalty).toBe(3);
});

test('content parts are joined, developer is system, an assistant may have said nothing', async () => {
  const request = await chat({
    messages: [
      { role: 'developer', content: 'be kind' },
      { role: 'assistant', content: null },
      {
        role: 'user',
        content: [
          { type: 'text', text: 'a' },
          { type: 'input_text', text: 'b' },
        ],
      },
    ],
  });
  expect(chatText(request)).toBe('system: be kind\nassistant: \nuser: ab\n');
});

test('text prompts get the beginning-of-sequence token once, token ids stay as they are', async () => {
  const ask = async (prompt: unknown) =>
    (await submitted('/v1/completions', { prompt })).prompts.map((tokens) => [...(tokens as Uint32Array)]);
  expect(await ask('ab')).toEqual([[256, 97, 98]]);
  expect(await ask(['a', 'b'])).toEqual([
    [256, 97],
    [256, 98],
  ]);
  expect(await ask([5, 299])).toEqual([[5, 299]]);
  expect(await ask([[5], [6, 7]])).toEqual([[5], [6, 7]]);
});

test('a prompt and max_tokens may fill the window to the last token', async () => {
  const prompt = Array.from({ length: 500 }, () => 1);
  expect((await submitted('/v1/completions', { prompt, max_tokens: 12 })).maxTokens).toBe(12);
});

test('keys such as __proto__ are unknown fields', async () => {
  const body = `{"__proto__":{"temperature":9},"constructor":{"prototype":1},"messages":[{"role":"user","content":"x"}]}`;
  expect((await submitted('/v1/chat/completions', body)).sampling.temperature).toBe(1);
  expect(({} as { temperature?: number }).temperature).toBeUndefined();
});

test('model may be absent, empty, default or the right one', async () => {
  for (const model of ['', 'default', 'org/scripted-model']) await chat({ model });
  const refused = await post(`${server.url}/v1/chat/completions`, { messages, model: 'gpt-4' });
  expect(refused.status).toBe(404);
  expect(JSON.parse(refused.text).error).toMatchObject({
    code: 'model_not_found',
    param: 'model',
    message: expect.stringContaining('org/scripted-model'),
  });
});

test('model ids with slashes can be looked up', async () => {
  const found = await get(`${server.url}/v1/models/org/scripted-model`);
  expect(JSON.parse(found.text)).toMatchObject({ id: 'org/scripted-model', object: 'model' });
  expect((await get(`${server.url}/v1/models/org%2Fscripted-model`)).status).toBe(200);
  expect((await get(`${server.url}/v1/models/org`)).status).toBe(404);
});

test('tokenize and detokenize speak the words of vLLM and llama-server', async () => {
  const tokenize = async (body: object) => JSON.parse((await post(`${server.url}/tokenize`, body)).text);
  expect(await tokenize({ content: 'ab' })).toEqual({ tokens: [97, 98], count: 2, max_model_len: 512 });
  expect((await tokenize({ content: 'ab', add_special: true })).tokens).toEqual([256, 97, 98]);
  expect((await tokenize({ prompt: 'ab' })).tokens).toEqual([256, 97, 98]);
  expect((await tokenize({ prompt: 'ab', add_special_tokens: false })).count).toBe(2);
  expect((await tokenize({ messages })).tokens).toEqual([256, ...Buffer.from('user: hi\n')]);
  const detokenize = async (tokens: number[]) =>
    JSON.parse((await post(`${server.url}/detokenize`, { tokens })).text);
  expect(await detokenize([97, 98])).toEqual({ content: 'ab', prompt: 'ab' });
  expect((await detokenize([256, 97])).content).toBe('<|256|>a');
  expect((await detokenize([])).content).toBe('');
});

test('service_tier flex is bulk work, any other tier is interactive', async () => {
  expect((await chat({ service_tier: 'flex' })).priorityClass).toBe('batch');
  expect((await chat({ service_tier: 'priority' })).priorityClass).toBe('interactive');
  expect((await chat({})).priorityClass).toBe('interactive');
});

test('cache_salt reaches the core; without it there is none', async () => {
  expect((await chat({ cache_salt: 'secret' })).cacheSalt).toBe('secret');
  expect((await chat({})).cacheSalt).toBe('');
});
