import { Writable } from 'node:stream';
import pino from 'pino';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { createHttpServer } from '../../src/http/server.js';
import { ServiceMetrics } from '../../src/metrics/service-metrics.js';
import { errorOf, get, post } from '../support/http-client.js';
import { anyWaitMs, type HttpTestServer, startHttpServer } from '../support/http-test-server.js';
import { ScriptedCore } from '../support/scripted-core.js';

const keys = ['first-key', 'second-key'];
let core: ScriptedCore;
let server: HttpTestServer;

beforeEach(async () => {
  core = new ScriptedCore();
  server = await startHttpServer(core, undefined, { apiKeys: keys });
});

afterEach(() => server.close());

const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

test('a browser, which sends no key, can read the documentation with all that it loads', async () => {
  const page = await get(`${server.url}/docs/`);
  const assets = [...page.text.matchAll(/(?:src|href)="\.\/([^"]+)"/g)].map(([, path]) => `/docs/${path}`);
  expect(assets.length).toBeGreaterThanOrEqual(4);
  for (const path of ['/docs', '/docs/json', '/openapi.json', ...assets]) {
    expect((await get(server.url + path)).status, path).toBe(200);
  }
  expect((await get(`${server.url}/openapi.json`)).text).not.toMatch(/first-key|second-key|scripted-model/);
});

test('only /health and the documentation are open', async () => {
  expect((await get(`${server.url}/health`)).status).toBe(200);
  for (const path of ['/v1/models', '/metrics', '/nowhere', '/docsx', '/v1/chat/completions']) {
    const reply = await get(server.url + path);
    expect(reply.status, path).toBe(401);
    expect(reply.headers.get('www-authenticate')).toBe('Bearer');
    expect(errorOf(reply)).toMatchObject({
      code: 'invalid_api_key',
      type: 'authentication_error',
      param: null,
    });
  }
});

test('each key opens, anything else does not', async () => {
  for (const key of keys) expect((await get(`${server.url}/v1/models`, bearer(key))).status).toBe(200);
  expect((await get(`${server.url}/v1/models`, { authorization: 'bearer first-key' })).status).toBe(200);
  for (const authorization of [
    'Bearer wrong',
    'Bearer first-ke',
    'Bearer first-keyx',
    'Basic first-key',
    'first-key',
  ]) {
    expect((await get(`${server.url}/v1/models`, { authorization })).status, authorization).toBe(401);
  }
});

test('a key is refused before its body is read', async () => {
  expect((await post(`${server.url}/v1/chat/completions`, '{nonsense', bearer('wrong'))).status).toBe(401);
});

test('tenants are as distinct as keys, and do not reveal them', async () => {
  const tenantOf = async (key: string) => {
    const arrival = core.nextRequest();
    const reply = post(`${server.url}/v1/completions`, { prompt: 'a' }, bearer(key));
    const { request, emit } = await arrival;
    const usage = { promptTokens: 1, cachedTokens: 0, completionTokens: 0 };
    emit({ type: 'finished', choice: 0, reason: 'stop', usage });
    await reply;
    return request.tenant;
  };
  const [first, second] = [await tenantOf(keys[0]!), await tenantOf(keys[1]!)];
  expect(first).toMatch(/^[0-9a-f]{12}$/);
  expect(second).not.toBe(first);
  expect(await tenantOf(keys[0]!)).toBe(first);
});

test('keys never reach the log, at any level', async () => {
  let logged = '';
  const sink = new Writable({
    write(chunk, _encoding, done) {
      logged += chunk;
      done();
    },
  });
  const logging = createHttpServer({
    core,
    config: {
      apiKeys: keys,
      maxBodyBytes: 1000,
      requestTimeoutMs: 1000,
      queueTimeoutMs: 1000,
      maxWaitMs: anyWaitMs,
      maxWaiting: 1,
    },
    metrics: new ServiceMetrics(),
    logger: pino({ level: 'trace' }, sink),
  });
  core.assertAccepting = () => {
    throw new Error('unforeseen');
  };
  for (const key of ['first-key', 'wrong-key']) {
    await logging.inject({ url: '/v1/models', headers: bearer(key) });
    const payload = { prompt: 'a' };
    await logging.inject({ method: 'POST', url: '/v1/completions', headers: bearer(key), payload });
  }
  await logging.close();
  expect(logged).toContain('unforeseen');
  expect(logged).not.toMatch(/first-key|wrong-key/);
});
