import { afterAll, beforeAll, expect, it } from 'vitest';
import type { RunningServer } from '../../src/main.js';
import { errorOf, get, post, until } from '../support/http-client.js';
import { streamCompletion } from '../support/live-stream.js';
import { describeWithRedis, startRedis, type TestRedis } from '../support/redis-server.js';
import { startWholeServer } from '../support/whole-server.js';

const queueTimeoutMs = 400;
const retentionMs = 700;

/** A gateway with a short patience and a worker with one slot. */
describeWithRedis('a gateway', () => {
  let redis: TestRedis;
  let gateway: RunningServer;
  let worker: RunningServer;

  beforeAll(async () => {
    redis = await startRedis();
    const shared = { redisUrl: redis.url, maxOverflow: 10, streamRetentionMs: retentionMs, queueTimeoutMs };
    worker = await startWholeServer('simulated', {
      ...shared,
      role: 'worker',
      slots: 1,
      contextTokens: 4096,
    });
    gateway = await startWholeServer('llama', { ...shared, role: 'gateway', model: null });
    await until(() => gateway.core.state === 'ready');
  });

  afterAll(async () => {
    await Promise.all([gateway?.close(), worker?.close()]);
    await redis?.stop();
  });

  const path = '/v1/completions';
  const ask = (tokens: number) => ({ prompt: 'a', max_tokens: tokens, ignore_eos: true });
  const metric = async ({ url }: RunningServer, name: string): Promise<number> => {
    const line = (await get(`${url}/metrics`)).text.split('\n').find((each) => each.startsWith(`${name} `));
    return Number(line?.slice(name.length));
  };
  const event = (server: RunningServer, name: string) =>
    metric(server, `chairlift_overflow_events_total{event="${name}"}`);

  it('shows what goes through Redis', async () => {
    expect((await post(gateway.url + path, ask(40))).status).toBe(200);
    expect(await event(worker, 'drained')).toBe(1);
    expect(await metric(worker, 'chairlift_overflow_wait_seconds_count{store="redis"}')).toBe(1);
    expect(await metric(worker, 'chairlift_overflow_relay_bytes_total')).toBeGreaterThan(100);
    expect(await metric(gateway, 'chairlift_overflow_relay_delay_seconds_count')).toBeGreaterThan(1);
    expect(await metric(gateway, 'chairlift_overflow_up')).toBe(1);
  });

  it('tells whoever has waited until its deadline when to come back, and takes its job away', async () => {
    const running = streamCompletion(gateway.url, ask(4000));
    await running.begun();
    const late = post(gateway.url + path, ask(5));
    await until(async () => (await metric(gateway, 'chairlift_overflow_depth{class="interactive"}')) === 1);
    await until(async () => {
      const oldestSeconds = await metric(gateway, 'chairlift_overflow_oldest_seconds{class="interactive"}');
      return oldestSeconds > 0.05;
    });
    const reply = await late;
    expect(reply.status).toBe(429);
    expect(errorOf(reply).message).toContain('waited too long');
    expect(Number(reply.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(await event(gateway, 'expired')).toBe(1);
    await until(async () => (await redis.client.zcard('chairlift-test:overflow:prioritized')) === 0);
    running.leave();
    await until(async () => (await event(worker, 'dropped')) === 1);
  });

  it('keeps a stream for as long as was said, and no longer', async () => {
    const stream = streamCompletion(gateway.url, ask(20));
    await stream.ended;
    const url = `${gateway.url}/v1/streams/${stream.request}`;
    expect((await get(url)).text).toContain('data: [DONE]');
    await until(async () => (await redis.client.keys(`chairlift-test:*${stream.request}`)).length === 0);
    expect((await get(url)).status).toBe(404);
  });
});

describeWithRedis('the page of the queue', () => {
  it('is for whoever has an API key', async () => {
    const redis = await startRedis();
    const more = { redisUrl: redis.url, queueDashboard: true, apiKeys: ['secret'] };
    const node = await startWholeServer('simulated', more);
    const page = `${node.url}/admin/queues/`;
    const data = `${node.url}/admin/queues/api/queues?page=1`;
    await until(async () => JSON.parse((await get(`${node.url}/health`)).text).redis === 'up');
    for (const url of [page, data]) {
      const refused = await get(url);
      expect(refused.status).toBe(401);
      expect(errorOf(refused).code).toBe('invalid_api_key');
      expect((await get(url, { authorization: 'Bearer secret' })).status).toBe(200);
    }
    await node.close();
    await redis.stop();
  });
});
