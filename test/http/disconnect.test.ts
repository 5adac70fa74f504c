import { afterEach, describe, expect, test } from 'vitest';
import { until } from '../support/http-client.js';
import { openRawStream } from '../support/raw-stream.js';
import type { ServingServer } from '../support/serving-server.js';
import { startSimulatedServer } from '../support/simulated-server.js';

const path = '/v1/completions';
let server: ServingServer;

afterEach(async () => {
  expect(server.faults).toEqual([]);
  await server.close();
});

describe.each([true, false])('with stream: %s, a client that leaves', (stream) => {
  /** A generation that would take minutes. */
  const endless = { prompt: 'once upon a time', stream, ignore_eos: true, max_tokens: 400 };

  test('while decoding frees its slot', async () => {
    server = await startSimulatedServer({ cost: { perPassMs: 20, perTokenMs: 0, perContextTokenMs: 0 } });
    const client = openRawStream(server.port, path, endless);
    await until(() => server.core.stats().decoding === 1);
    client.socket.destroy();
    await until(() => server.core.stats().running === 0, 200);
  });

  test('while prefilling frees its slot', async () => {
    server = await startSimulatedServer({
      batchTokens: 20,
      cost: { perPassMs: 30, perTokenMs: 0, perContextTokenMs: 0 },
    });
    const client = openRawStream(server.port, path, { ...endless, prompt: 'x'.repeat(400), max_tokens: 100 });
    await until(() => server.core.stats().prefilling === 1);
    client.socket.destroy();
    await until(() => server.core.stats().running === 0, 200);
    const generated = await server.metrics.registry
      .getSingleMetric('chairlift_generation_tokens_total')!
      .get();
    expect(generated.values[0]!.value).toBe(0);
  });

  test('while waiting leaves the line and costs nothing', async () => {
    server = await startSimulatedServer({
      slotCount: 1,
      cost: { perPassMs: 20, perTokenMs: 0, perContextTokenMs: 0 },
    });
    const running = openRawStream(server.port, path, endless);
    await until(() => server.core.stats().decoding === 1);
    const waiting = openRawStream(server.port, path, endless);
    await until(() => server.core.stats().waiting === 1);
    waiting.socket.destroy();
    await until(() => server.core.stats().waiting === 0, 200);
    expect(server.core.stats().running).toBe(1);
    running.socket.destroy();
    await until(() => server.core.stats().running === 0, 200);
  });

  test('takes all choices of its request along', async () => {
    server = await startSimulatedServer({
      slotCount: 2,
      cost: { perPassMs: 20, perTokenMs: 0, perContextTokenMs: 0 },
    });
    const client = openRawStream(server.port, path, { ...endless, n: 5 });
    await until(() => server.core.stats().decoding === 2 && server.core.stats().waiting === 3);
    client.socket.destroy();
    await until(() => server.core.stats().running + server.core.stats().waiting === 0, 200);
  });
});

test('a client that leaves before its body is complete never reaches the core', async () => {
  server = await startSimulatedServer();
  const client = openRawStream(server.port, path, {});
  client.socket.write('POST /v1/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 1000\r\n\r\n{"prompt":');
  await until(() => client.received().includes('400 Bad Request'));
  client.socket.destroy();
  await new Promise((resolve) => setTimeout(resolve, 50));
  expect(server.core.stats()).toMatchObject({ running: 0, waiting: 0 });
});
