import type { RequestListener } from 'node:http';
import { describe, expect, it } from 'vitest';
import { runBench } from '../../bench/cli.js';
import { runClosedLoop, runFixedWork, runOpenLoop, sleep } from '../../bench/load/drivers.js';
import { createEndpoint, TargetError } from '../../bench/load/endpoint.js';
import type { RequestRecord, RequestSpec } from '../../bench/load/records.js';
import { sendStreaming } from '../../bench/load/stream-client.js';
import { openTarget } from '../../bench/load/target.js';
import { serveForTest } from '../support/local-server.js';

const sse = { 'content-type': 'text/event-stream' };
const token = (text: string, finishReason: string | null = null): string =>
  `data: ${JSON.stringify({ choices: [{ text, finish_reason: finishReason }] })}\n\n`;
const usage = (prompt: number, completion: number): string =>
  `data: ${JSON.stringify({ choices: [], usage: { prompt_tokens: prompt, completion_tokens: completion } })}\n\n`;
const spec: RequestSpec = { prompt: 'The', promptTokens: 1, outputTokens: 3 };
const shape = {
  api: 'completions',
  model: 'm',
  includeUsage: true,
  ignoreEos: true,
  temperature: 0,
} as const;

function send(url: string, overrides: Partial<RequestSpec> = {}, timeoutMs = 5000): Promise<RequestRecord> {
  return sendStreaming({ ...spec, ...overrides }, { endpoint: createEndpoint(url), shape, timeoutMs });
}

/** An OpenAI-like server: one token per word of the prompt, plus one for BOS. */
const wellBehaved: RequestListener = (request, response) => {
  if (request.method === 'GET') return void response.end(JSON.stringify({ data: [{ id: 'good' }] }));
  let body = '';
  request.on('data', (chunk) => {
    body += chunk;
  });
  request.on('end', () => {
    const { prompt, max_tokens: count } = JSON.parse(body) as { prompt: string; max_tokens: number };
    response.writeHead(200, sse);
    for (let index = 1; index <= count; index += 1)
      response.write(token(' x', index === count ? 'length' : null));
    response.end(`${usage(prompt.split(' ').length + 1, count)}data: [DONE]\n\n`);
  });
};

describe('sendStreaming', () => {
  it('records one arrival per token and the usage', async () => {
    const record = await send(await serveForTest(wellBehaved));
    expect(record).toMatchObject({ outcome: 'ok', promptTokens: 2, outputTokens: 3, finishReason: 'length' });
    expect(record.chunkAtMs).toHaveLength(3);
    expect(record.text).toBe(' x x x');
  });

  it('does not take a role-only or empty chunk for the first token', async () => {
    const url = await serveForTest((_, response) => {
      response.writeHead(200, sse);
      response.write(`data: ${JSON.stringify({ choices: [{ delta: { role: 'assistant' } }] })}\n\n`);
      response.write(token(''));
      setTimeout(() => response.end(`${token('a')}${token('', 'stop')}data: [DONE]\n\n`), 80);
    });
    const record = await send(url);
    expect(record.chunkAtMs).toHaveLength(1);
    expect(record.chunkAtMs[0]! - record.sentAtMs).toBeGreaterThan(60);
  });

  it('tells rejection from failure and keeps Retry-After', async () => {
    let status = 429;
    const url = await serveForTest((_, response) => {
      response.writeHead(status, { 'retry-after': '7' });
      response.end('{"error":{"message":"queue full"}}');
    });
    expect(await send(url)).toMatchObject({
      outcome: 'rejected',
      retryAfterSeconds: 7,
      error: 'HTTP 429: queue full',
    });
    status = 500;
    expect(await send(url)).toMatchObject({ outcome: 'failed', failureKind: 'status' });
  });

  it('takes a clean end without [DONE] and a cut socket for failures', async () => {
    const clean = await serveForTest((_, response) => {
      response.writeHead(200, sse);
      response.end(token('a'));
    });
    expect(await send(clean)).toMatchObject({ outcome: 'failed', failureKind: 'stream' });
    const cut = await serveForTest((_, response) => {
      response.writeHead(200, sse);
      response.write(token('a'));
      setTimeout(() => response.destroy(), 20);
    });
    expect(await send(cut)).toMatchObject({ outcome: 'failed', failureKind: 'stream' });
    const errorChunk = await serveForTest((_, response) => {
      response.writeHead(200, sse);
      response.end('data: {"error":{"message":"boom"}}\n\ndata: [DONE]\n\n');
    });
    expect((await send(errorChunk)).error).toContain('boom');
  });

  it('hangs up after the tokens it was told, and the server sees it', async () => {
    let closed = false;
    const url = await serveForTest((_, response) => {
      response.writeHead(200, sse);
      const timer = setInterval(() => response.write(token('a')), 5);
      response.on('close', () => {
        closed = true;
        clearInterval(timer);
      });
    });
    const record = await send(url, { abortAfterChunks: 4 });
    expect(record).toMatchObject({ outcome: 'aborted' });
    expect(record.chunkAtMs).toHaveLength(4);
    await sleep(50);
    expect(closed).toBe(true);
    expect((await send(url, { abortAfterChunks: 0, abortDelayMs: 1 })).outcome).toBe('aborted');
  });

  it('gives up after its timeout', async () => {
    const url = await serveForTest(() => {});
    expect(await send(url, {}, 60)).toMatchObject({ outcome: 'failed', failureKind: 'timeout' });
  });
});

describe('openTarget', () => {
  it('finds model, usage, and the tokens of BOS', async () => {
    const target = await openTarget({ url: `${await serveForTest(wellBehaved)}/v1/` });
    expect(target.features).toMatchObject({ model: 'good', api: 'completions', calibratedPrompts: true });
    expect(target.calibration.overheadTokens).toBe(1);
  });

  it('asks for less when the server refuses ignore_eos', async () => {
    const url = await serveForTest((request, response) => {
      if (request.method === 'GET') return void wellBehaved(request, response);
      let body = '';
      request.on('data', (chunk) => {
        body += chunk;
      });
      request.on('end', () => {
        if (body.includes('ignore_eos')) {
          response.writeHead(400);
          return response.end('{"error":{"message":"unknown field ignore_eos"}}');
        }
        response.writeHead(200, sse);
        response.end(`${token('a', 'stop')}data: [DONE]\n\n`);
      });
    });
    const { features } = await openTarget({ url });
    expect(features).toMatchObject({
      acceptsIgnoreEos: false,
      reportsUsage: false,
      calibratedPrompts: false,
    });
  });

  it.each([
    [
      'refuses the key',
      401,
      'application/json',
      '{"error":{"message":"bad key"}}',
      /refuses the key \(401\): bad key/,
    ],
    ['is a web page', 200, 'text/html', '<html>', /names no model/],
    ['is loading', 503, 'application/json', '{"error":{"message":"loading"}}', /not ready \(503\): loading/],
    ['does not stream', 200, 'application/json', '{"data":[{"id":"m"}]}', /does not stream/],
  ])('ends in one sentence when the server %s', async (_, status, type, body, message) => {
    const url = await serveForTest((request, response) => {
      request.resume();
      response.writeHead(status, { 'content-type': type });
      response.end(body);
    });
    const error = await openTarget({ url }).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(TargetError);
    expect((error as Error).message).toMatch(message);
    expect((error as Error).message).not.toContain('\n');
  });

  it('ends in one sentence when nothing listens', async () => {
    await expect(openTarget({ url: '127.0.0.1:9' })).rejects.toThrow(/nothing listens there/);
  });
});

describe('drivers', () => {
  const timing = { warmupMs: 50, measureMs: 250, drainMs: 1000, signal: new AbortController().signal };
  const answerAfter =
    (delayMs: number) =>
    async (_: RequestSpec, { scheduledAtMs = performance.now() }): Promise<RequestRecord> => {
      await sleep(delayMs);
      return { outcome: 'ok', scheduledAtMs, chunkAtMs: [performance.now()] } as unknown as RequestRecord;
    };

  it('a closed loop never has more requests running than clients', async () => {
    let running = 0;
    let most = 0;
    const { records } = await runClosedLoop({
      ...timing,
      clients: 5,
      nextRequest: () => spec,
      send: async (...args) => {
        running += 1;
        most = Math.max(most, running);
        const record = await answerAfter(10)(...args);
        running -= 1;
        return record;
      },
    });
    expect(most).toBe(5);
    expect(records.length).toBeGreaterThan(50);
  });

  it('an open loop keeps its schedule although the server is slow', async () => {
    const arrivalsMs = [0, 20, 40, 60, 80, 100];
    const { records, sendLagMs } = await runOpenLoop({
      ...timing,
      arrivalsMs,
      request: () => spec,
      send: answerAfter(300),
    });
    expect(records).toHaveLength(6);
    const first = records[0]!.scheduledAtMs;
    expect(records.map((record) => Math.round(record.scheduledAtMs - first))).toEqual(arrivalsMs);
    expect(sendLagMs).toHaveLength(6);
  });

  it('a closed loop is measured once every client has seen a token', async () => {
    const startMs = performance.now();
    const slow = async (_: RequestSpec, { onToken }: { onToken?: () => void }): Promise<RequestRecord> => {
      await sleep(150);
      onToken?.();
      return answerAfter(50)(spec, {});
    };
    const { window } = await runClosedLoop({ ...timing, clients: 2, nextRequest: () => spec, send: slow });
    expect(window.startMs - startMs).toBeGreaterThan(140);
    expect(window.endMs - window.startMs).toBeCloseTo(timing.measureMs);
  });

  it('fixed work is measured from its first request to its last answer', async () => {
    const finished: RequestRecord[] = [];
    const { records, window } = await runFixedWork({
      clients: 3,
      limitMs: 5000,
      signal: new AbortController().signal,
      nextRequest: (_, turn) => (turn < 2 ? spec : undefined),
      send: async (_, { scheduledAtMs = performance.now() }) => {
        await sleep(finished.length === 0 ? 10 : 40);
        const finishedAtMs = performance.now();
        const record = { outcome: 'ok', scheduledAtMs, finishedAtMs, chunkAtMs: [finishedAtMs] };
        finished.push(record as unknown as RequestRecord);
        return finished.at(-1)!;
      },
    });
    expect(records).toHaveLength(6);
    const times = records.map(({ finishedAtMs }) => finishedAtMs);
    expect(Math.max(...times)).toBeLessThan(window.endMs);
    expect(window.endMs - Math.max(...times)).toBeLessThan(2);
    expect(window.startMs).toBeLessThanOrEqual(
      Math.min(...records.map(({ scheduledAtMs }) => scheduledAtMs)),
    );
  });

  it('a stopped run shortens its window', async () => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 120);
    const { window } = await runClosedLoop({
      ...timing,
      measureMs: 60_000,
      signal: stop.signal,
      clients: 1,
      nextRequest: () => spec,
      send: answerAfter(10),
    });
    expect(window.endMs - window.startMs).toBeLessThan(5000);
  });
});

describe('runBench', () => {
  it('answers wrong usage with 2', async () => {
    expect(await runBench([])).toBe(2);
    expect(await runBench(['--url', 'x', '--seeds', 'zero'])).toBe(2);
    expect(await runBench(['--url', 'x', '--scenario', 'nonsense'])).toBe(2);
  });

  it('reports what it has when the server dies in the middle', async () => {
    let answered = 0;
    const url = await serveForTest((request, response) => {
      if (request.method === 'POST') answered += 1;
      if (answered < 40) return void wellBehaved(request, response);
      response.destroy();
    });
    const { mkdtempSync, readFileSync } = await import('node:fs');
    const file = `${mkdtempSync('/tmp/bench-test-')}/out.json`;
    const code = await runBench([
      '--url',
      url,
      '--clients',
      '2',
      '--seconds',
      '2',
      '--warmup-seconds',
      '0',
      '--json',
      file,
    ]);
    expect(code).toBe(1);
    const results = JSON.parse(readFileSync(file, 'utf8')) as {
      runs: { incomplete?: string; metrics: { requests: number } }[];
    };
    expect(results.runs).toHaveLength(1);
    expect(results.runs[0]!.incomplete).toMatch(/failed 8 requests in a row/);
    expect(results.runs[0]!.metrics.requests).toBeGreaterThan(20);
  });
});
