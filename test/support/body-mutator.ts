import type { SeededRandom } from './seeded-random.js';

/** JSON text that no careful client sends; some of it has no literal in JavaScript. */
const hostileValues = [
  'null',
  'true',
  'false',
  '0',
  '-0',
  '-1',
  '1',
  '0.5',
  '1e999',
  '-1e999',
  '1e-999',
  '4294967295',
  '4294967296',
  '2147483648',
  '9007199254740993',
  '123456789012345678901234567890',
  '""',
  '"\\u0000"',
  '"\\ud800"',
  '"\\udc00x"',
  '"<|im_end|>"',
  '"{{ messages }}"',
  '"{% for x in y %}"',
  '"__proto__"',
  '"constructor"',
  '"../../etc/passwd"',
  '[]',
  '{}',
  '[[]]',
  '[null]',
  '[{}]',
  '[[[[[[]]]]]]',
  '{"__proto__":{"x":1}}',
  '{"toString":1}',
  '{"length":1e9}',
  '[1,"a",null]',
  '[1,2,3]',
  '[97.5]',
  '[257]',
  '[258]',
  '[-1]',
  '["a","b"]',
  '["a",""]',
  '{"type":"text"}',
  '[{"type":"text","text":"x"}]',
  '[{"type":"image_url"}]',
  '{"97":5}',
  '{"97":1e999}',
  '{"-1":1}',
  '{"1e1":1}',
  '"user"',
  '"assistant"',
  '"tool"',
];

const fieldNames = [
  'messages',
  'prompt',
  'model',
  'max_tokens',
  'max_completion_tokens',
  'temperature',
  'top_p',
  'top_k',
  'min_p',
  'seed',
  'frequency_penalty',
  'presence_penalty',
  'repetition_penalty',
  'repeat_penalty',
  'logit_bias',
  'stop',
  'stream',
  'stream_options',
  'ignore_eos',
  'n',
  'best_of',
  'user',
  'echo',
  'suffix',
  'logprobs',
  'tools',
  'response_format',
  'content',
  'role',
  'name',
  'text',
  'type',
  'tokens',
  'add_special',
  '__proto__',
  'constructor',
  'toString',
  'hasOwnProperty',
  '',
];

/** What the fuzzer starts from, each with the path it belongs to. */
const validRequests: readonly FuzzedRequest[] = [
  { path: '/v1/chat/completions', body: '{"messages":[{"role":"user","content":"hello"}],"max_tokens":3}' },
  {
    path: '/v1/chat/completions',
    body: '{"messages":[{"role":"system","content":"a"},{"role":"user","content":[{"type":"text","text":"b"}],"name":"n"}],"max_tokens":2,"stream":true,"stream_options":{"include_usage":true}}',
  },
  {
    path: '/v1/chat/completions',
    body: '{"messages":[{"role":"user","content":"x"}],"max_tokens":2,"temperature":0.7,"top_p":0.9,"top_k":40,"seed":1,"stop":["a","b"],"logit_bias":{"97":-100},"n":2}',
  },
  { path: '/v1/completions', body: '{"prompt":"hello","max_tokens":3}' },
  { path: '/v1/completions', body: '{"prompt":["a","b","c"],"max_tokens":2,"n":2,"stream":true}' },
  { path: '/v1/completions', body: '{"prompt":[104,105],"max_tokens":2,"ignore_eos":true}' },
  {
    path: '/v1/completions',
    body: '{"prompt":[[104],[105,106]],"max_tokens":1,"presence_penalty":1,"frequency_penalty":-1,"repetition_penalty":1.1}',
  },
  { path: '/tokenize', body: '{"content":"abc","add_special":true}' },
  { path: '/detokenize', body: '{"tokens":[104,105]}' },
];

export interface FuzzedRequest {
  path: string;
  body: string;
}

/** A valid request with up to three wounds; at times sent to a path it does not belong to, or plain rubbish. */
export function fuzzedRequest(random: SeededRandom): FuzzedRequest {
  const valid = random.pick(validRequests);
  const path = random.below(8) === 0 ? random.pick(validRequests).path : valid.path;
  if (random.below(8) === 0) return { path, body: rubbish(random) };
  let body = valid.body;
  for (let wounds = random.below(4); wounds > 0; wounds--) body = wound(body, random);
  return { path, body };
}

function wound(body: string, random: SeededRandom): string {
  switch (random.below(6)) {
    case 0:
      return replaceValue(body, random);
    case 1:
      return body.replace('{', `{"${random.pick(fieldNames)}":${random.pick(hostileValues)},`);
    case 2:
      return body.replace(/}$/, `,"${random.pick(fieldNames)}":${random.pick(hostileValues)}}`);
    case 3:
      return cutBytes(body, random);
    case 4:
      return body.replace('hello', () => hugeText(random));
    default:
      return replaceValue(body, random);
  }
}

/** Replaces one scalar, empty or flat value. */
function replaceValue(body: string, random: SeededRandom): string {
  const values = [...body.matchAll(/"[^"]*"(?!:)|-?\d+(?:\.\d+)?|true|\[[^[\]]*]|\{[^{}]*}/g)];
  if (values.length === 0) return body;
  const chosen = random.pick(values);
  return (
    body.slice(0, chosen.index) + random.pick(hostileValues) + body.slice(chosen.index + chosen[0].length)
  );
}

function cutBytes(body: string, random: SeededRandom): string {
  const from = random.below(body.length);
  return body.slice(0, from) + body.slice(from + 1 + random.below(4));
}

function hugeText(random: SeededRandom): string {
  return random
    .pick(['h', '\\ud83d\\ude00', '\\u0000', ' ', '\ufeff', 'é'])
    .repeat(random.pick([1, 100, 450, 5000]));
}

function rubbish(random: SeededRandom): string {
  const depth = random.pick([10, 1000, 20_000]);
  switch (random.below(4)) {
    case 0:
      return `${'['.repeat(depth)}${']'.repeat(depth)}`;
    case 1:
      return `${'{"messages":'.repeat(depth)}1${'}'.repeat(depth)}`;
    case 2:
      return random.pick(hostileValues);
    default:
      return Array.from({ length: random.below(200) }, () => String.fromCharCode(random.below(0x300))).join(
        '',
      );
  }
}
