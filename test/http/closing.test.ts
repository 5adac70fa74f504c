import { connect } from 'node:net';
import { beforeEach, expect, test } from 'vitest';
import { createHttpServer } from '../../src/http/server.js';
import { ServiceMetrics } from '../../src/metrics/service-metrics.js';
import { until } from '../support/http-client.js';
import { anyWaitMs } from '../support/http-test-server.js';
import { openRawStream } from '../support/raw-stream.js';
import { ScriptedCore } from '../support/scripted-core.js';

let core: ScriptedCore;
let server: ReturnType<typeof createHttpServer>;
let port: number;

beforeEach(async () => {
  core = new ScriptedCore();
  const config = {
    apiKeys: [],
    maxBodyBytes: 1000,
    requestTimeoutMs: 5000,
    queueTimeoutMs: 5000,
    maxWaitMs: anyWaitMs,
    maxWaiting: 1,
  };
  server = createHttpServer({ core, config, metrics: new ServiceMetrics() });
  await server.listen({ host: '127.0.0.1', port: 0 });
  port = (server.server.address() as { port: number }).port;
});

/** Milliseconds that closing took. */
async function timeToClose(): Promise<number> {
  const startedMs = performance.now();
  await server.close();
  return performance.now() - startedMs;
}

test('closing does not wait for connections that never sent a request', async () => {
  const unused = connect(port, '127.0.0.1');
  await new Promise((resolve) => unused.once('connect', resolve));
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(await timeToClose()).toBeLessThan(1000);
});

test('closing does not wait for kept-alive connections', async () => {
  await (await fetch(`http://127.0.0.1:${port}/health`)).text();
  expect(await timeToClose()).toBeLessThan(1000);
});

test('closing waits for the end of a stream, and for no more', async () => {
  const arrival = core.nextRequest();
  const raw = openRawStream(port, '/v1/completions', { prompt: 'a', stream: true });
  const { emit } = await arrival;
  const closed = timeToClose();
  await new Promise((resolve) => setTimeout(resolve, 100));
  emit({ type: 'text', choice: 0, text: 'last words', tokens: [1] });
  const usage = { promptTokens: 1, cachedTokens: 0, completionTokens: 1 };
  emit({ type: 'finished', choice: 0, reason: 'stop', usage });
  expect(await closed).toBeLessThan(1000);
  expect(await raw.closed).toMatch(/last words[\s\S]*\[DONE\]\n\n\r\n0\r\n\r\n$/);
});

test('while draining every answer asks its client to reconnect elsewhere', async () => {
  core.state = 'draining';
  const reply = await fetch(`http://127.0.0.1:${port}/health`);
  expect(reply.headers.get('connection')).toBe('close');
  await server.close();
});

test('closing gives up on a reader that never collects its answer', async () => {
  const arrival = core.nextRequest();
  const raw = openRawStream(port, '/v1/completions', { prompt: 'a', stream: true });
  const generation = await arrival;
  raw.socket.pause();
  const text = 'x'.repeat(100_000);
  for (let said = 0; said < 100 && !generation.aborted; said++) {
    generation.emit({ type: 'text', choice: 0, text, tokens: [1] });
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  expect(await timeToClose()).toBeLessThan(7000);
  await until(() => generation.aborted);
});
