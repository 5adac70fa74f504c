import { afterAll, beforeAll, expect, test } from 'vitest';
import { errorOf, post } from '../support/http-client.js';
import type { ServingServer } from '../support/serving-server.js';
import { startSimulatedServer } from '../support/simulated-server.js';

/** Each refusal names the field at fault, its value and its limit. */
interface BadCase {
  field: string | null;
  /** Raw JSON text where the value cannot be written as a literal. */
  body: object | string;
  says: RegExp;
  code?: string;
}

const messages = [{ role: 'user', content: 'hello' }];
const chat = (fields: object) => ({ messages, max_tokens: 2, ...fields });
const completion = (fields: object) => ({ prompt: 'hello', max_tokens: 2, ...fields });
const content = (parts: unknown) => ({ messages: [{ role: 'user', content: parts }] });

const unsupported = (field: string, value: unknown): BadCase => ({
  field,
  body: { messages, [field]: value },
  says: /not supported/,
  code: 'unsupported_parameter',
});

const chatCases: BadCase[] = [
  { field: null, body: '', says: /not valid JSON/, code: 'invalid_json' },
  { field: null, body: '{', says: /not valid JSON/, code: 'invalid_json' },
  { field: null, body: '{"messages":[}', says: /not valid JSON/, code: 'invalid_json' },
  { field: null, body: 'NaN', says: /not valid JSON/, code: 'invalid_json' },
  { field: null, body: '[]', says: /must be a JSON object, got an empty array/ },
  { field: null, body: 'null', says: /must be a JSON object, got null/ },
  { field: null, body: '"text"', says: /must be a JSON object, got "text"/ },
  { field: 'messages', body: {}, says: /messages is required/ },
  { field: 'messages', body: { messages: null }, says: /messages is required/ },
  { field: 'messages', body: { messages: [] }, says: /at least 1 message, got an empty array/ },
  { field: 'messages', body: { messages: 'hi' }, says: /got "hi"/ },
  { field: 'messages', body: { messages: {} }, says: /got an object/ },
  {
    field: 'messages',
    body: { messages: Array.from({ length: 1025 }, () => messages[0]) },
    says: /at most 1024 entries, got 1025/,
  },
  { field: 'messages[0]', body: { messages: ['hi'] }, says: /must be an object, got "hi"/ },
  { field: 'messages[0]', body: { messages: [null] }, says: /must be an object, got null/ },
  { field: 'messages[1]', body: { messages: [...messages, [[]]] }, says: /got an array of 1/ },
  { field: 'messages[0].role', body: { messages: [{ content: 'x' }] }, says: /one of system.*got nothing/ },
  { field: 'messages[0].role', body: { messages: [{ role: 'pirate', content: 'x' }] }, says: /got "pirate"/ },
  { field: 'messages[0].role', body: { messages: [{ role: 1, content: 'x' }] }, says: /got 1/ },
  { field: 'messages[0].content', body: { messages: [{ role: 'user' }] }, says: /is required/ },
  { field: 'messages[0].content', body: content(5), says: /got 5/ },
  { field: 'messages[0].content', body: content({ text: 'x' }), says: /got an object/ },
  { field: 'messages[0].content[0]', body: content(['x']), says: /must be an object, got "x"/ },
  { field: 'messages[0].content[0].type', body: content([{ text: 'x' }]), says: /"text".*got nothing/ },
  {
    field: 'messages[0].content[1].type',
    body: content([
      { type: 'text', text: 'a' },
      { type: 'image_url', image_url: { url: 'data:' } },
    ]),
    says: /reads text only.*got "image_url"/,
  },
  { field: 'messages[0].content[0].text', body: content([{ type: 'text' }]), says: /a string, got nothing/ },
  {
    field: 'messages[0].name',
    body: { messages: [{ role: 'user', content: 'x', name: 3 }] },
    says: /a string, got 3/,
  },
  {
    field: 'messages[1].tool_calls',
    body: { messages: [...messages, { role: 'assistant', content: null, tool_calls: [{ id: 'a' }] }] },
    says: /not supported/,
    code: 'unsupported_parameter',
  },
  { field: 'temperature', body: chat({ temperature: 5 }), says: /between 0 and 2, got 5/ },
  { field: 'temperature', body: chat({ temperature: -0.1 }), says: /between 0 and 2, got -0.1/ },
  { field: 'temperature', body: chat({ temperature: '1' }), says: /a number, got "1"/ },
  { field: 'temperature', body: chat({ temperature: [] }), says: /a number, got an empty array/ },
  { field: 'temperature', body: '{"messages":[],"temperature":1e999}', says: /got Infinity/ },
  { field: 'top_p', body: chat({ top_p: 1.01 }), says: /between 0 and 1, got 1.01/ },
  { field: 'top_k', body: chat({ top_k: 1.5 }), says: /an integer, got 1.5/ },
  { field: 'top_k', body: chat({ top_k: -2 }), says: /between -1 and/ },
  { field: 'min_p', body: chat({ min_p: 2 }), says: /between 0 and 1, got 2/ },
  { field: 'seed', body: chat({ seed: 0.5 }), says: /an integer, got 0.5/ },
  { field: 'seed', body: '{"messages":[],"seed":-1e999}', says: /got -Infinity/ },
  { field: 'frequency_penalty', body: chat({ frequency_penalty: 3 }), says: /between -2 and 2, got 3/ },
  { field: 'presence_penalty', body: chat({ presence_penalty: -3 }), says: /between -2 and 2, got -3/ },
  { field: 'repetition_penalty', body: chat({ repetition_penalty: 0 }), says: /between 0.01 and 10, got 0/ },
  { field: 'repeat_penalty', body: chat({ repeat_penalty: true }), says: /a number, got true/ },
  { field: 'max_tokens', body: chat({ max_tokens: 0 }), says: /between 1 and .*got 0/ },
  { field: 'max_tokens', body: chat({ max_tokens: 1.5 }), says: /an integer, got 1.5/ },
  { field: 'max_tokens', body: chat({ max_tokens: 1e300 }), says: /between 1 and/ },
  { field: 'max_completion_tokens', body: chat({ max_completion_tokens: -1 }), says: /got -1/ },
  { field: 'n', body: chat({ n: 0 }), says: /between 1 and 16, got 0/ },
  { field: 'n', body: chat({ n: 17 }), says: /between 1 and 16, got 17/ },
  {
    field: 'best_of',
    body: chat({ best_of: 2 }),
    says: /equal to n \(1\), got 2/,
    code: 'unsupported_parameter',
  },
  { field: 'stream', body: chat({ stream: 'yes' }), says: /a boolean, got "yes"/ },
  { field: 'stream_options', body: chat({ stream_options: true }), says: /an object, got true/ },
  {
    field: 'stream_options.include_usage',
    body: chat({ stream_options: { include_usage: 1 } }),
    says: /a boolean, got 1/,
  },
  { field: 'stop', body: chat({ stop: 5 }), says: /a string or an array of strings, got 5/ },
  { field: 'stop', body: chat({ stop: '' }), says: /at least 1 character/ },
  { field: 'stop', body: chat({ stop: ['a', 'b', 'c', 'd', 'e'] }), says: /at most 4 entries, got 5/ },
  { field: 'stop[1]', body: chat({ stop: ['a', null] }), says: /a string, got null/ },
  { field: 'stop[0]', body: chat({ stop: ['x'.repeat(257)] }), says: /at most 256 characters long, got 257/ },
  { field: 'logit_bias', body: chat({ logit_bias: [1] }), says: /an object/ },
  {
    field: 'logit_bias',
    body: chat({ logit_bias: { abc: 1 } }),
    says: /token ids between 0 and \d+, got "abc"/,
  },
  { field: 'logit_bias', body: chat({ logit_bias: { '-1': 1 } }), says: /got "-1"/ },
  { field: 'logit_bias', body: chat({ logit_bias: { '1.5': 1 } }), says: /got "1.5"/ },
  { field: 'logit_bias', body: chat({ logit_bias: { '4000000000': 1 } }), says: /got "4000000000"/ },
  { field: 'logit_bias', body: '{"messages":[],"logit_bias":{"__proto__":1}}', says: /got "__proto__"/ },
  { field: 'logit_bias["1"]', body: chat({ logit_bias: { 1: 101 } }), says: /between -100 and 100, got 101/ },
  { field: 'logit_bias["1"]', body: chat({ logit_bias: { 1: null } }), says: /a number, got null/ },
  {
    field: 'logit_bias',
    body: chat({ logit_bias: Object.fromEntries(Array.from({ length: 1025 }, (_, id) => [id, 1])) }),
    says: /at most 1024 entries, got 1025/,
  },
  { field: 'ignore_eos', body: chat({ ignore_eos: 1 }), says: /a boolean, got 1/ },
  { field: 'user', body: chat({ user: {} }), says: /a string, got an object/ },
  { field: 'user', body: chat({ user: 'u'.repeat(513) }), says: /at most 512 characters long, got 513/ },
  { field: 'service_tier', body: chat({ service_tier: 1 }), says: /a string, got 1/ },
  { field: 'cache_salt', body: chat({ cache_salt: 1 }), says: /a string, got 1/ },
  { field: 'model', body: chat({ model: 7 }), says: /a string, got 7/ },
  unsupported('tools', [{ type: 'function' }]),
  unsupported('tools', 'x'),
  unsupported('tool_choice', 'required'),
  unsupported('functions', [{}]),
  unsupported('function_call', { name: 'f' }),
  unsupported('response_format', { type: 'json_object' }),
  unsupported('response_format', 'text'),
  unsupported('logprobs', true),
  unsupported('top_logprobs', 3),
  unsupported('audio', {}),
  unsupported('modalities', ['text', 'audio']),
  unsupported('grammar', 'root ::= "a"'),
  unsupported('guided_json', {}),
  {
    field: 'messages',
    body: { messages: [{ role: 'user', content: 'x'.repeat(600) }] },
    says: /maximum context length is 512 tokens.*resulted in 6\d\d tokens/,
    code: 'context_length_exceeded',
  },
  {
    field: 'messages',
    body: chat({ max_tokens: 500 }),
    says: /maximum context length is 512 tokens.*requested 5\d\d tokens \(\d\d in the messages, 500 in the completion\)/,
    code: 'context_length_exceeded',
  },
  {
    field: 'messages',
    body: { messages: [{ role: 'user', content: 'x'.repeat(40_000) }] },
    says: /40000 characters/,
    code: 'context_length_exceeded',
  },
];

const completionCases: BadCase[] = [
  { field: 'prompt', body: {}, says: /prompt is required/ },
  { field: 'prompt', body: completion({ prompt: [] }), says: /got an empty array/ },
  { field: 'prompt', body: completion({ prompt: 5 }), says: /got 5/ },
  { field: 'prompt', body: completion({ prompt: { text: 'x' } }), says: /got an object/ },
  { field: 'prompt', body: completion({ prompt: '' }), says: /at least 1 token, got ""/ },
  { field: 'prompt[1]', body: completion({ prompt: ['a', ''] }), says: /at least 1 token/ },
  {
    field: 'prompt[1]',
    body: completion({ prompt: ['a', 5] }),
    says: /a string, as the first entry is, got 5/,
  },
  { field: 'prompt[0]', body: completion({ prompt: [[]] }), says: /at least 1 token id, got an empty array/ },
  { field: 'prompt[0]', body: completion({ prompt: [null] }), says: /got null/ },
  { field: 'prompt[1]', body: completion({ prompt: [1, 'a'] }), says: /a token id \(an integer\), got "a"/ },
  { field: 'prompt[1]', body: completion({ prompt: [1, 1.5] }), says: /got 1.5/ },
  { field: 'prompt[0]', body: completion({ prompt: [-1] }), says: /vocabulary has \d+ tokens\), got -1/ },
  { field: 'prompt[0]', body: completion({ prompt: [258] }), says: /between 0 and 257 .*got 258/ },
  {
    field: 'prompt[0]',
    body: completion({ prompt: [999_999] }),
    says: /vocabulary has \d+ tokens\), got 999999/,
  },
  { field: 'prompt[0]', body: '{"prompt":[1e999]}', says: /a token id \(an integer\), got Infinity/ },
  { field: 'prompt[1][2]', body: completion({ prompt: [[1], [1, 2, 2 ** 32]] }), says: /got 4294967296/ },
  {
    field: 'prompt',
    body: completion({ prompt: Array.from({ length: 257 }, () => 'a') }),
    says: /at most 256 entries, got 257/,
  },
  {
    field: 'prompt',
    body: completion({ prompt: Array.from({ length: 100 }, () => 'a') }),
    says: /100 choices, but this server takes at most 68/,
  },
  {
    field: 'prompt',
    body: completion({ prompt: Array.from({ length: 512 }, () => 1) }),
    says: /maximum context length is 512 tokens.*512 tokens/,
    code: 'context_length_exceeded',
  },
  {
    field: 'prompt[1]',
    body: completion({ prompt: ['a', 'b'.repeat(505)], max_tokens: 10 }),
    says: /requested 515 tokens \(505 in the prompt\[1\], 10 in the completion\)/,
    code: 'context_length_exceeded',
  },
  { field: 'echo', body: completion({ echo: true }), says: /not supported/, code: 'unsupported_parameter' },
  {
    field: 'suffix',
    body: completion({ suffix: 'x' }),
    says: /not supported/,
    code: 'unsupported_parameter',
  },
  { field: 'logprobs', body: completion({ logprobs: 0 }), says: /got 0/, code: 'unsupported_parameter' },
  { field: 'best_of', body: completion({ best_of: 0 }), says: /between 1 and 16/ },
];

const tokenCases: [string, BadCase][] = [
  ['/tokenize', { field: 'content', body: {}, says: /content is required/ }],
  ['/tokenize', { field: 'content', body: { content: 5 }, says: /a string, got 5/ }],
  ['/tokenize', { field: 'prompt', body: { prompt: ['a'] }, says: /a string, got an array of 1/ }],
  ['/tokenize', { field: 'messages', body: { messages: [] }, says: /at least 1 message/ }],
  ['/tokenize', { field: 'add_special', body: { content: 'a', add_special: 'x' }, says: /a boolean/ }],
  ['/detokenize', { field: 'tokens', body: {}, says: /tokens is required/ }],
  ['/detokenize', { field: 'tokens', body: { tokens: 'a' }, says: /an array of token ids, got "a"/ }],
  ['/detokenize', { field: 'tokens[0]', body: { tokens: [-1] }, says: /got -1/ }],
  ['/detokenize', { field: 'tokens[1]', body: { tokens: [1, 2 ** 31] }, says: /vocabulary/ }],
];

const allCases: [string, BadCase][] = [
  ...chatCases.map((badCase): [string, BadCase] => ['/v1/chat/completions', badCase]),
  ...completionCases.map((badCase): [string, BadCase] => ['/v1/completions', badCase]),
  ...tokenCases,
];

let server: ServingServer;

beforeAll(async () => {
  server = await startSimulatedServer();
});

afterAll(async () => {
  expect(server.faults).toEqual([]);
  expect(server.core.stats()).toMatchObject({ running: 0, waiting: 0 });
  await server.close();
});

test.each(allCases)('%s refuses $field', async (path, badCase) => {
  const reply = await post(server.url + path, badCase.body);
  const error = errorOf(reply);
  expect(error.message).toMatch(badCase.says);
  expect(Object.keys(error).sort()).toEqual(['code', 'message', 'param', 'type']);
  expect(error).toMatchObject({
    type: 'invalid_request_error',
    param: badCase.field,
    code: badCase.code ?? 'invalid_value',
  });
  expect(reply.status).toBe(400);
  expect(error.message.length).toBeLessThan(400);
});

test('has at least 60 cases', () => {
  expect(allCases.length).toBeGreaterThanOrEqual(60);
});

test('long values are cut in messages, whatever they hold', async () => {
  const reply = await post(
    `${server.url}/v1/chat/completions`,
    chat({ temperature: '\ud800'.repeat(100_000) }),
  );
  expect(reply.status).toBe(400);
  expect(errorOf(reply).message.length).toBeLessThan(1000);
});

test('a value nested 100,000 levels deep is refused like any other', async () => {
  const nested = '['.repeat(100_000) + ']'.repeat(100_000);
  for (const field of ['messages', 'temperature', 'stop', 'tools']) {
    const reply = await post(`${server.url}/v1/chat/completions`, `{"messages":[{}],"${field}":${nested}}`);
    expect(reply.status).toBe(400);
  }
});
