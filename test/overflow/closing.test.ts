import { afterEach, beforeEach, expect, it } from 'vitest';
import type { RunningServer } from '../../src/main.js';
import { until } from '../support/http-client.js';
import { type LiveStream, streamCompletion } from '../support/live-stream.js';
import { describeWithRedis, startRedis, type TestRedis } from '../support/redis-server.js';
import { simulatedText } from '../support/simulated-text.js';
import { startWholeServer } from '../support/whole-server.js';

/** A node with one slot and no line, and perhaps a worker that helps. */
describeWithRedis('a node that overflows', () => {
  let redis: TestRedis;
  let servers: RunningServer[];

  beforeEach(async () => {
    redis = await startRedis();
    servers = [];
  });

  afterEach(async () => {
    await Promise.all(servers.map((server) => server.close()));
    await redis.stop();
  });

  async function start(more: object): Promise<RunningServer> {
    const shared = { redisUrl: redis.url, contextTokens: 4096, slots: 1, maxWaiting: 0, maxOverflow: 10 };
    const server = await startWholeServer('simulated', { ...shared, ...more });
    servers.push(server);
    return server;
  }

  const ask = (node: RunningServer, prompt: string, tokens: number, headers = {}) =>
    streamCompletion(node.url, { prompt, max_tokens: tokens, ignore_eos: true }, headers);
  const waiting = () => redis.client.zcard('chairlift-test:overflow:prioritized');
  const jobs = () => redis.client.keys('chairlift-test:overflow:cmpl-*');

  async function refusedByShutdown(stream: LiveStream): Promise<void> {
    await stream.ended;
    expect(stream.isDone).toBe(false);
    expect(stream.error).toMatchObject({ code: 'draining' });
  }

  it('tells everybody when it closes, and leaves nothing in Redis', async () => {
    const node = await start({});
    const first = ask(node, 'in the slot', 20);
    await first.begun();
    const own = ask(node, 'from Redis into the slot', 4000);
    await own.begun();
    const queued = ask(node, 'in Redis', 4000);
    await until(async () => (await waiting()) === 1);
    await node.close();
    await Promise.all([refusedByShutdown(own), refusedByShutdown(queued)]);
    expect(own.text.length).toBeGreaterThan(0);
    expect(await jobs()).toEqual([]);
  });

  it('waits with closing for what another process computes', async () => {
    const node = await start({ shutdownMs: 20_000 });
    const here = ask(node, 'in the slot', 30);
    await here.begun();
    await start({ role: 'worker' });
    const elsewhere = ask(node, 'elsewhere', 150);
    await elsewhere.begun();
    await node.close();
    await Promise.all([here.ended, elsewhere.ended]);
    expect(elsewhere).toMatchObject({ error: null, isDone: true });
    expect(elsewhere.text).toBe(simulatedText('elsewhere', 150));
  });

  it('tells the client of a request that is ended by its name, wherever it is', async () => {
    const node = await start({});
    await ask(node, 'in the slot', 20).begun();
    const own = ask(node, 'from Redis into the slot', 4000);
    await own.begun();
    const queued = ask(node, 'in Redis', 4000);
    await until(async () => (await waiting()) === 1 && queued.status === 200);
    for (const stream of [queued, own]) {
      const name = stream.headers.get('x-stream-id');
      expect((await fetch(`${node.url}/v1/streams/${name}`, { method: 'DELETE' })).status).toBe(200);
      await stream.ended;
      expect(stream.error).toMatchObject({ code: 'generation_failed', message: 'the request was cancelled' });
    }
    await until(() => node.core.stats().running === 0);
    expect(await jobs()).toEqual([]);
  });
});
