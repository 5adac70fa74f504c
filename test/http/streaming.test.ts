import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { FinishReason } from '../../scheduler/index.js';
import { eventsOf, post, until } from '../support/http-client.js';
import { type HttpTestServer, startHttpServer } from '../support/http-test-server.js';
import { openRawStream } from '../support/raw-stream.js';
import { ScriptedCore, type ScriptedRequest } from '../support/scripted-core.js';

let core: ScriptedCore;
let server: HttpTestServer;
const chatPath = '/v1/chat/completions';
const chatBody = { messages: [{ role: 'user', content: 'hi' }], stream: true };

beforeEach(async () => {
  core = new ScriptedCore();
  server = await startHttpServer(core, undefined, { requestTimeoutMs: 400 });
});

afterEach(() => server.close());

const say = (to: ScriptedRequest, choice: number, text: string) =>
  to.emit({ type: 'text', choice, text, tokens: [1] });

const finish = (to: ScriptedRequest, choice: number, reason: FinishReason = 'stop', cachedTokens = 0) =>
  to.emit({
    type: 'finished',
    choice,
    reason,
    usage: { promptTokens: 10, cachedTokens, completionTokens: 2 },
  });

async function begin(path: string, body: object) {
  const arrival = core.nextRequest();
  const raw = openRawStream(server.port, path, body);
  return { raw, generation: await arrival };
}

/** The whole reply to a stream whose events `script` plays. */
async function streamed(path: string, body: object, script: (to: ScriptedRequest) => void) {
  const arrival = core.nextRequest();
  const reply = post(server.url + path, body);
  script(await arrival);
  return await reply;
}

describe('a chat stream', () => {
  test('sends its headers before the first token', async () => {
    const { raw, generation } = await begin(chatPath, chatBody);
    await until(() => raw.received().includes('\r\n\r\n'));
    expect(raw.received()).toMatch(/^HTTP\/1.1 200 [\s\S]*content-type: text\/event-stream/);
    expect(raw.received()).toMatch(/x-request-id: req-/);
    expect(raw.received()).not.toContain('data:');
    finish(generation, 0);
    await until(() => raw.received().includes('[DONE]'));
    raw.socket.destroy();
  });

  test('puts role and first token into its first chunk, and ends with a reason and [DONE]', async () => {
    const reply = await streamed(chatPath, chatBody, (generation) => {
      say(generation, 0, '');
      say(generation, 0, 'He');
      say(generation, 0, 'y "\n\ud83d\ude00');
      finish(generation, 0, 'length');
    });
    const events = eventsOf(reply.text) as never[];
    expect(events.slice(0, -1)).toMatchObject([
      { choices: [{ index: 0, delta: { role: 'assistant', content: 'He' }, finish_reason: null }] },
      { choices: [{ index: 0, delta: { content: 'y "\n\ud83d\ude00' }, finish_reason: null }] },
      { choices: [{ index: 0, delta: {}, finish_reason: 'length' }] },
    ]);
    expect(events.at(-1)).toBe('[DONE]');
    for (const event of events.slice(0, -1)) {
      expect(event).toMatchObject({ object: 'chat.completion.chunk', model: 'org/scripted-model' });
      expect(event).not.toHaveProperty('usage');
      expect((event as { id: string }).id).toMatch(/^chatcmpl-[0-9a-f]{32}$/);
    }
  });

  test('without any text still names its role', async () => {
    const reply = await streamed(chatPath, chatBody, (generation) => finish(generation, 0));
    expect(eventsOf(reply.text)[0]).toMatchObject({
      choices: [{ delta: { role: 'assistant', content: '' }, finish_reason: 'stop' }],
    });
  });

  test('reports usage in a chunk without choices when asked', async () => {
    const body = { ...chatBody, stream_options: { include_usage: true } };
    const reply = await streamed(chatPath, body, (generation) => {
      say(generation, 0, 'a');
      finish(generation, 0, 'stop', 4);
    });
    const events = eventsOf(reply.text);
    expect(events.slice(0, 2)).toMatchObject([{ usage: null }, { usage: null }]);
    expect(events[2]).toMatchObject({
      choices: [],
      usage: {
        prompt_tokens: 10,
        completion_tokens: 2,
        total_tokens: 12,
        prompt_tokens_details: { cached_tokens: 4 },
      },
    });
  });

  test('keeps the connection for the next request', async () => {
    const { raw, generation } = await begin(chatPath, chatBody);
    finish(generation, 0);
    await until(() => raw.received().endsWith('0\r\n\r\n'));
    raw.socket.write('GET /health HTTP/1.1\r\nhost: x\r\n\r\n');
    await until(() => raw.received().includes('"status":"ok"'));
    raw.socket.destroy();
  });
});

test('a completion stream keeps its choices apart and counts each prompt once', async () => {
  const body = { prompt: ['a', 'b'], n: 2, stream: true, stream_options: { include_usage: true } };
  const reply = await streamed('/v1/completions', body, (generation) => {
    for (const choice of [3, 0, 2, 1]) say(generation, choice, `text ${choice}`);
    for (const choice of [1, 2, 3, 0]) finish(generation, choice, 'stop', 5);
  });
  const events = eventsOf(reply.text) as { object: string; choices: { index: number; text: string }[] }[];
  expect(events.slice(0, 4).map((event) => event.choices[0]!.index)).toEqual([3, 0, 2, 1]);
  expect(events[0]!.choices[0]!.text).toBe('text 3');
  expect(events[0]!.object).toBe('text_completion');
  expect(events.at(-2)).toMatchObject({
    usage: { prompt_tokens: 20, completion_tokens: 8, prompt_tokens_details: { cached_tokens: 10 } },
  });
});

test('a whole answer merges its choices in order', async () => {
  const reply = await streamed('/v1/completions', { prompt: ['a', 'b'], n: 2 }, (generation) => {
    for (const choice of [3, 0, 2, 1, 3]) say(generation, choice, `<${choice}>`);
    for (const choice of [1, 2, 3, 0]) finish(generation, choice, choice === 3 ? 'length' : 'stop');
  });
  const { choices, usage } = JSON.parse(reply.text);
  expect(choices.map((choice: { text: string }) => choice.text)).toEqual(['<0>', '<1>', '<2>', '<3><3>']);
  expect(choices[3]).toMatchObject({ index: 3, finish_reason: 'length' });
  expect(usage).toMatchObject({ prompt_tokens: 20, completion_tokens: 8, total_tokens: 28 });
});

describe('a generation that fails', () => {
  const failures = [
    ['error', 500, 'generation_failed'],
    ['expired', 429, 'queue_full'],
    ['cancelled', 503, 'draining'],
  ] as const;

  test.each(failures)('by %s is %d when nothing was sent', async (reason, status, code) => {
    const reply = await streamed(chatPath, { ...chatBody, stream: false }, (generation) => {
      say(generation, 0, 'half an ans');
      finish(generation, 0, reason);
    });
    expect(reply.status).toBe(status);
    expect(JSON.parse(reply.text).error).toMatchObject({ code, param: null });
    if (status === 429) expect(Number(reply.headers.get('retry-after'))).toBeGreaterThan(0);
  });

  test.each(failures)(
    'by %s in a stream ends it with an error and a cut connection',
    async (reason, _status, code) => {
      const { raw, generation } = await begin(chatPath, chatBody);
      say(generation, 0, 'half an ans');
      finish(generation, 0, reason);
      const received = await raw.closed;
      expect(received).toContain('half an ans');
      expect(received).toMatch(
        new RegExp(`data: {"error":{"message":"[^"]*","type":"[^"]*","param":null,"code":"${code}"}}`),
      );
      expect(received).not.toContain('[DONE]');
      // The last chunk of a clean end is missing, so no client can take this for success.
      expect(received).not.toMatch(/0\r\n\r\n$/);
    },
  );

  test('takes its other choices with it', async () => {
    const { raw, generation } = await begin('/v1/completions', { prompt: 'a', n: 3, stream: true });
    finish(generation, 1, 'error');
    await raw.closed;
    expect(generation.aborted).toBe(true);
  });

  test('by taking too long is aborted', async () => {
    const whole = await streamed(chatPath, { ...chatBody, stream: false }, () => {});
    expect(whole.status).toBe(408);
    expect(whole.headers.get('x-should-retry')).toBe('false');
    const { raw } = await begin(chatPath, chatBody);
    expect(await raw.closed).toContain('"code":"request_timeout"');
    expect(core.requests.map((request) => request.aborted)).toEqual([true, true]);
  });
});

test('a client that leaves is aborted at once, whether or not it streams', async () => {
  for (const stream of [true, false]) {
    const { raw, generation } = await begin(chatPath, { ...chatBody, stream });
    say(generation, 0, 'a');
    raw.socket.destroy();
    await until(() => generation.aborted);
  }
});
