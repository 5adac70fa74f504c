import { createServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { completionShape } from '../../src/http/generation/completion-shape.js';
import { SseStream } from '../../src/http/generation/sse-stream.js';
import { streamAnswer } from '../../src/http/generation/stream-answer.js';
import { anyRequest } from '../support/any-request.js';
import { until } from '../support/http-client.js';
import { type HttpTestServer, startHttpServer } from '../support/http-test-server.js';
import { openRawStream } from '../support/raw-stream.js';
import { ScriptedCore, type ScriptedRequest } from '../support/scripted-core.js';

const body = { prompt: 'a', stream: true };
const path = '/v1/completions';
const usage = { promptTokens: 1, cachedTokens: 0, completionTokens: 1 };
const nextTurn = () => new Promise((resolve) => setImmediate(resolve));

describe('a reader that stops reading', () => {
  let core: ScriptedCore;
  let server: HttpTestServer;

  beforeEach(async () => {
    core = new ScriptedCore();
    server = await startHttpServer(core);
  });

  afterEach(() => server.close());

  async function begin() {
    const arrival = core.nextRequest();
    const raw = openRawStream(server.port, path, body);
    return { raw, generation: await arrival };
  }

  const say = (to: ScriptedRequest, text: string) => to.emit({ type: 'text', choice: 0, text, tokens: [1] });

  test('is aborted once too much is held back, while others go on', async () => {
    const stalled = await begin();
    const lively = await begin();
    stalled.raw.socket.pause();
    let said = 0;
    while (!stalled.generation.aborted && said < 2000) {
      said += 1;
      say(stalled.generation, 'x'.repeat(16 * 1024));
      say(lively.generation, `<${said}>`);
      await nextTurn();
    }
    expect(stalled.generation.aborted).toBe(true);
    await until(() => lively.raw.received().includes(`<${said}>`));
    expect(lively.generation.aborted).toBe(false);
    lively.raw.socket.destroy();
  });
});

describe('a stream', () => {
  const limits = { pingMs: 30, drainTimeoutMs: 100 };
  let response: ServerResponse;
  let close: () => void;
  let raw: ReturnType<typeof openRawStream>;

  beforeEach(async () => {
    const arrived = new Promise<ServerResponse>((resolve) => {
      const http = createServer((_request, reply) => resolve(reply)).listen(0, '127.0.0.1', () => {
        raw = openRawStream((http.address() as AddressInfo).port, '/', {});
      });
      close = () => {
        http.closeAllConnections();
        http.close();
      };
    });
    response = await arrived;
  });

  afterEach(() => close());

  test('pings while it is silent, and only then', async () => {
    const stream = new SseStream(response, limits, { drained() {}, stalled() {} });
    await until(() => raw.received().split(': ping\n\n').length >= 3);
    stream.send('data: 1\n\n');
    stream.end();
    await until(() => raw.received().includes('data: 1'));
    const pings = raw.received().split(': ping').length;
    await new Promise((resolve) => setTimeout(resolve, 100));
    expect(raw.received().split(': ping').length).toBe(pings);
  });

  test('sends the events of one turn in one write', async () => {
    const stream = new SseStream(response, limits, { drained() {}, stalled() {} });
    const writes: unknown[] = [];
    const write = response.write.bind(response);
    response.write = ((chunk: string) => {
      writes.push(chunk);
      return write(chunk);
    }) as typeof response.write;
    for (const word of ['a', 'b', 'c']) stream.send(`data: ${word}\n\n`);
    await nextTurn();
    expect(writes).toEqual(['data: a\n\ndata: b\n\ndata: c\n\n']);
    stream.end();
  });

  test('merges what a slow reader missed, and delivers all of it', async () => {
    const core = new ScriptedCore();
    const arrival = core.nextRequest();
    streamAnswer(response, {
      core,
      request: { ...anyRequest, choicesPerPrompt: 2 },
      requestTimeoutMs: 10_000,
      limits: { pingMs: 10_000, drainTimeoutMs: 10_000, maxHeldCharacters: 200_000 },
      chunks: completionShape.chunks(
        { id: 'cmpl-1', createdSeconds: 1, model: 'm', fingerprint: 'f' },
        false,
      ),
      includeUsage: false,
    });
    const { emit } = await arrival;
    raw.socket.pause();
    const say = (choice: number, text: string) => emit({ type: 'text', choice, text, tokens: [1] });
    let fillers = 0;
    // The buffers of the kernel take a few megabytes; what comes after them is held back.
    while (!response.writableNeedDrain) {
      say(0, '~'.repeat(65_536));
      fillers += 1;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    for (let word = 0; word < 1000; word++) {
      say(0, '!');
      say(1, '?');
    }
    for (const choice of [0, 1]) emit({ type: 'finished', choice, reason: 'stop', usage });
    expect(raw.received()).not.toContain('!');
    raw.socket.resume();
    await until(() => raw.received().includes('[DONE]'), 10_000);
    expect(raw.received().match(/~/g)).toHaveLength(fillers * 65_536);
    expect(raw.received()).toContain(`{"index":0,"text":"${'!'.repeat(1000)}"`);
    expect(raw.received()).toContain(`{"index":1,"text":"${'?'.repeat(1000)}"`);
    expect(raw.received().match(/"finish_reason":"stop"/g)).toHaveLength(2);
  });

  test('gives up a reader that takes nothing for too long', async () => {
    let stalled = false;
    const stream = new SseStream(response, limits, {
      drained() {},
      stalled() {
        stalled = true;
      },
    });
    raw.socket.pause();
    while (!stream.blocked || response.writableLength < 1_000_000) {
      stream.send(`data: ${'x'.repeat(500_000)}\n\n`);
      await nextTurn();
    }
    await until(() => stalled);
    expect(response.destroyed).toBe(true);
  });
});
