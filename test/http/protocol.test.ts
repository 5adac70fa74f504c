import { connect } from 'node:net';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ServiceError } from '../../src/errors.js';
import { errorOf, get, post } from '../support/http-client.js';
import { type HttpTestServer, startHttpServer } from '../support/http-test-server.js';
import { ScriptedCore } from '../support/scripted-core.js';

let core: ScriptedCore;
let server: HttpTestServer;
const chatBody = { messages: [{ role: 'user', content: 'hi' }] };

beforeEach(async () => {
  core = new ScriptedCore();
  server = await startHttpServer(core, undefined, { maxBodyBytes: 10_000 });
});

afterEach(() => server.close());

function rawExchange(text: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(server.port, '127.0.0.1', () => socket.write(text));
    let received = '';
    socket.on('data', (data) => {
      received += data;
    });
    socket.on('close', () => resolve(received));
    socket.on('error', reject);
  });
}

describe('errors of the protocol have the OpenAI shape', () => {
  test('unknown path', async () => {
    const reply = await get(`${server.url}/v2/nothing?x=1`);
    expect(reply.status).toBe(404);
    expect(errorOf(reply)).toEqual({
      message: 'unknown path: GET /v2/nothing',
      type: 'invalid_request_error',
      param: null,
      code: 'not_found',
    });
  });

  test('wrong method', async () => {
    for (const [path, allow] of [
      ['/v1/chat/completions', 'POST'],
      ['/tokenize', 'POST'],
    ]) {
      const reply = await get(server.url + path);
      expect(reply.status).toBe(405);
      expect(reply.headers.get('allow')).toBe(allow);
      expect(errorOf(reply).code).toBe('method_not_allowed');
    }
    expect((await post(`${server.url}/v1/models/a/b`, {})).status).toBe(405);
  });

  test('content types', async () => {
    const send = (type: string) =>
      post(`${server.url}/tokenize`, '{"content":"a"}', { 'content-type': type });
    expect((await send('application/json; charset=utf-8')).status).toBe(200);
    for (const type of [
      'application/x-www-form-urlencoded',
      'text/plain',
      'nonsense',
      'text/application/json',
    ]) {
      const reply = await send(type);
      expect(reply.status, type).toBe(415);
      expect(errorOf(reply).code).toBe('unsupported_media_type');
    }
    const bytes = new Uint8Array(Buffer.from('{"content":"a"}'));
    expect((await fetch(`${server.url}/tokenize`, { method: 'POST', body: bytes })).status).toBe(200);
    const zipped = await post(`${server.url}/tokenize`, '{}', { 'content-encoding': 'gzip' });
    expect(zipped.status).toBe(415);
  });

  test('a body beyond the limit', async () => {
    const reply = await post(`${server.url}/tokenize`, { content: 'x'.repeat(20_000) });
    expect(reply.status).toBe(413);
    expect(errorOf(reply)).toMatchObject({
      code: 'request_too_large',
      message: expect.stringContaining('10000'),
    });
  });

  test('a path that is no URL', async () => {
    const reply = await get(`${server.url}/%E0%A4%A`);
    expect(reply.status).toBe(404);
    expect(errorOf(reply).code).toBe('not_found');
    expect(reply.headers.get('x-request-id')).toBeTruthy();
  });

  test('what is not HTTP, and headers beyond the limit', async () => {
    expect(await rawExchange('nonsense\r\n\r\n')).toMatch(/^HTTP\/1.1 400 [\s\S]*"param":null,"code":/);
    const huge = `GET /health HTTP/1.1\r\nhost: x\r\nx-padding: ${'x'.repeat(40_000)}\r\n\r\n`;
    expect(await rawExchange(huge)).toMatch(/^HTTP\/1.1 431 [\s\S]*too large/);
  });

  test('an exception nobody foresaw', async () => {
    core.assertAccepting = () => {
      throw new TypeError('secret detail');
    };
    const reply = await post(`${server.url}/v1/chat/completions`, chatBody);
    expect(reply.status).toBe(500);
    expect(errorOf(reply)).toMatchObject({ code: 'internal_error', type: 'server_error', param: null });
    expect(reply.text).not.toContain('secret');
  });
});

describe('refusals of the core', () => {
  test.each([
    ['queue_full', 429, 7, '7'],
    ['queue_full', 429, 0, '1'],
    ['queue_full', 429, 1.2, '2'],
    ['queue_full', 429, 500, '60'],
    ['draining', 503, 5, '5'],
    ['engine_failed', 503, undefined, null],
  ] as const)('%s is %d', async (code, status, retryAfterSeconds, header) => {
    core.refusal = new ServiceError(code, 'no', retryAfterSeconds === undefined ? {} : { retryAfterSeconds });
    for (const stream of [false, true]) {
      const reply = await post(`${server.url}/v1/chat/completions`, { ...chatBody, stream });
      expect(reply.status).toBe(status);
      expect(errorOf(reply).code).toBe(code);
      expect(reply.headers.get('retry-after')).toBe(header);
      expect(reply.headers.get('content-type')).toMatch(/^application\/json/);
    }
  });

  test('come before the body is looked at, so that a burst costs no tokenising', async () => {
    core.refusal = new ServiceError('queue_full', 'no', { retryAfterSeconds: 1 });
    expect((await post(`${server.url}/v1/completions`, { prompt: 5 })).status).toBe(429);
  });
});

describe('request ids', () => {
  test('a good one is echoed, a bad or missing one is replaced', async () => {
    const idFor = async (sent?: string) =>
      (await get(`${server.url}/health`, sent === undefined ? {} : { 'x-request-id': sent })).headers.get(
        'x-request-id',
      );
    expect(await idFor('my-id.1')).toBe('my-id.1');
    expect(await idFor()).toMatch(/^req-/);
    expect(await idFor('no spaces "allowed"')).toMatch(/^req-/);
    expect(await idFor('x'.repeat(200))).toMatch(/^req-/);
    expect((await get(`${server.url}/nowhere`)).headers.get('x-request-id')).toMatch(/^req-/);
  });
});

describe('health', () => {
  test('is ok when ready', async () => {
    const reply = await get(`${server.url}/health`);
    expect(reply.status).toBe(200);
    expect(JSON.parse(reply.text)).toEqual({
      status: 'ok',
      model: 'org/scripted-model',
      slots: { total: 4, running: 0, cached: 1, empty: 3 },
      waiting: 0,
      redis: 'not configured',
    });
  });

  test.each(['loading', 'draining', 'failed'] as const)('is 503 while %s', async (state) => {
    core.state = state;
    const reply = await get(`${server.url}/health`);
    expect(reply.status).toBe(503);
    expect(JSON.parse(reply.text).status).toBe(state);
  });
});
