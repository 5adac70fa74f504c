import { Queue } from 'bullmq';
import OpenAI from 'openai';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { RunningServer } from '../../src/main.js';
import { get, post, until } from '../support/http-client.js';
import { openRawStream } from '../support/raw-stream.js';
import { describeWithRedis, startRedis, type TestRedis } from '../support/redis-server.js';
import { startWholeServer } from '../support/whole-server.js';

/** A gateway and a worker over a Redis of their own; the simulated engine says what it always says. */
describeWithRedis('a gateway and a worker', () => {
  let redis: TestRedis;
  let gateway: RunningServer;
  let worker: RunningServer;
  let openai: OpenAI;

  beforeAll(async () => {
    redis = await startRedis();
    const shared = { redisUrl: redis.url, maxOverflow: 100, logLevel: 'warn' as const };
    worker = await startWholeServer('simulated', { ...shared, role: 'worker', slots: 4 });
    gateway = await startWholeServer('llama', { ...shared, role: 'gateway', model: null });
    await until(() => gateway.core.state === 'ready');
    openai = new OpenAI({ baseURL: `${gateway.url}/v1`, apiKey: 'none', maxRetries: 0 });
  });

  afterAll(async () => {
    await Promise.all([gateway?.close(), worker?.close()]);
    await redis?.stop();
  });

  const question = { model: 'simulated', messages: [{ role: 'user', content: 'hello' }] } as const;

  it('streams through Redis what it answers at once, with resumable event ids', async () => {
    const whole = await openai.chat.completions.create({
      ...question,
      messages: [...question.messages],
      max_tokens: 40,
    });
    const stream = await openai.chat.completions.create({
      ...question,
      messages: [...question.messages],
      max_tokens: 40,
      stream: true,
      stream_options: { include_usage: true },
    });
    let text = '';
    let usage: OpenAI.CompletionUsage | null | undefined;
    for await (const chunk of stream) {
      text += chunk.choices[0]?.delta.content ?? '';
      usage = chunk.usage ?? usage;
    }
    expect(text).toBe(whole.choices[0]!.message.content);
    expect(usage).toMatchObject({ completion_tokens: whole.usage!.completion_tokens });
    const raw = await post(`${gateway.url}/v1/chat/completions`, {
      ...question,
      max_tokens: 40,
      stream: true,
    });
    const ids = [...raw.text.matchAll(/^id: (.*)$/gm)].map(([, id]) => id);
    expect(ids[0]).toBe('1-1');
    expect(new Set(ids).size).toBe(ids.length);
  });

  it('passes a worker’s objection on as a plain 400', async () => {
    const tooLong = { ...question, max_tokens: 100_000, stream: true };
    const reply = await post(`${gateway.url}/v1/chat/completions`, tooLong);
    expect(reply.status).toBe(400);
    expect(JSON.parse(reply.text).error).toMatchObject({ code: 'context_length_exceeded' });
  });

  it('says how it is', async () => {
    const health = JSON.parse((await get(`${gateway.url}/health`)).text);
    expect(health).toMatchObject({ status: 'ok', model: 'simulated', redis: 'up' });
    expect((await get(`${worker.url}/health`)).status).toBe(200);
    expect((await post(`${worker.url}/v1/chat/completions`, question)).status).toBe(404);
  });

  it.each([
    ['of another version', 'data', '{"version":99}', /job format 99, this process reads/],
    ['that is no JSON', 'data', '{"broken', /set it aside: cannot be understood/],
    ['whose options are no JSON', 'opts', '{"broken', /its entry in Redis cannot be read/],
  ])('tells the client of a job %s, instead of letting it wait', async (_, field, value, reason) => {
    const port = Number(new URL(gateway.url).port);
    const endless = { ...question, max_tokens: 200, ignore_eos: true, stream: true };
    const busy = Array.from({ length: 4 }, () => openRawStream(port, '/v1/chat/completions', endless));
    await until(() => worker.core.stats().running === 4);
    const late = post(`${gateway.url}/v1/chat/completions`, { ...question, max_tokens: 5 });
    let [id]: string[] = [];
    await until(async () => {
      [id] = await redis.client.zrange('chairlift-test:overflow:prioritized', 0, 0);
      return id !== undefined;
    });
    await redis.client.hset(`chairlift-test:overflow:${id}`, field, value);
    const listener = redis.client.duplicate();
    const told: string[] = [];
    await listener.psubscribe('chairlift-test:to:*');
    listener.on('pmessage', (_pattern, _channel, message: string) => told.push(message));
    for (const { socket } of busy) socket.destroy();
    const reply = await late;
    expect(reply.status).toBe(500);
    const { error } = JSON.parse(reply.text);
    expect(error.code).toBe('generation_failed');
    expect(error.message).toMatch(reason);
    // Not found by chance, when this gateway looks for what it has missed.
    expect(told.filter((message) => message.startsWith(`${id} 1-1 `))).toHaveLength(1);
    listener.disconnect();
    await until(async () => (await redis.client.zscore('chairlift-test:overflow:failed', id!)) !== null);
  });

  it('frees the slot and the job of a client that leaves', async () => {
    const endless = { ...question, max_tokens: 200, ignore_eos: true, stream: true };
    const stream = openRawStream(Number(new URL(gateway.url).port), '/v1/chat/completions', endless);
    await until(() => worker.core.stats().running === 1);
    stream.socket.destroy();
    await until(() => worker.core.stats().running === 0);
    await until(async () => (await redis.client.llen('chairlift-test:overflow:active')) === 0);
  });
});

describeWithRedis('a full node, and another that helps', () => {
  let redis: TestRedis;
  let node: RunningServer;
  let worker: RunningServer | null = null;

  beforeAll(async () => {
    redis = await startRedis();
    node = await startWholeServer(
      'simulated',
      options({ slots: 1, maxWaiting: 0, maxOverflow: 3, queueDashboard: true }),
    );
    await until(async () => (await health(node)).redis === 'up');
  });

  afterAll(async () => {
    await Promise.all([node?.close(), worker?.close()]);
    await redis?.stop();
  });

  const options = (more: object) => ({ redisUrl: redis.url, logLevel: 'warn' as const, ...more });
  const health = async (server: RunningServer) => JSON.parse((await get(`${server.url}/health`)).text);
  const depthOf = () => redis.client.zcard('chairlift-test:overflow:prioritized');
  const endless = {
    messages: [{ role: 'user', content: 'x' }],
    max_tokens: 200,
    ignore_eos: true,
    stream: true,
  };
  const short = { ...endless, max_tokens: 5 };
  const path = '/v1/chat/completions';

  it('keeps what it has no room for in Redis, up to a limit, and forgets what its clients leave', async () => {
    const port = Number(new URL(node.url).port);
    const streams = [openRawStream(port, path, endless)];
    await until(() => node.core.stats().running === 1);
    for (let index = 0; index < 3; index += 1) streams.push(openRawStream(port, path, endless));
    await until(async () => (await depthOf()) === 3);
    const refused = await post(`${node.url}${path}`, endless);
    expect(refused.status).toBe(429);
    expect(Number(refused.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    const metrics = (await get(`${node.url}/metrics`)).text;
    expect(metrics).toContain('chairlift_overflow_depth{class="interactive"} 3');
    for (const { socket } of streams.slice(1)) socket.destroy();
    await until(async () => (await depthOf()) === 0);
    streams[0]!.socket.destroy();
    await until(() => node.core.stats().running === 0);
  });

  it('answers a request that it took out of Redis before it had room', async () => {
    // One freed slot of two goes to the store, whether the line has room or not.
    for (let count = 0; count < 2; count += 1) await post(`${node.url}${path}`, short);
    const busy = openRawStream(Number(new URL(node.url).port), path, { ...endless, max_tokens: 100 });
    await until(() => node.core.stats().running === 1);
    const late = await post(`${node.url}${path}`, short);
    expect(late.text).toContain('id: 2-1\n');
    expect(late.text).toContain('data: [DONE]');
    busy.socket.destroy();
  });

  it('answers its own job without a hop, and another’s through Redis', async () => {
    const port = Number(new URL(node.url).port);
    const busy = openRawStream(port, path, { ...endless, max_tokens: 100 });
    await until(() => node.core.stats().running === 1);
    const own = await post(`${node.url}${path}`, short);
    expect(own.text).toContain('data: [DONE]');
    expect(own.text).not.toContain('id: ');
    await until(() => busy.received().includes('[DONE]'));
    busy.socket.destroy();
    const blocking = openRawStream(port, path, endless);
    await until(() => node.core.stats().running === 1);
    worker = await startWholeServer('simulated', options({ role: 'worker' }));
    const helped = await post(`${node.url}${path}`, short);
    expect(helped.text).toContain('id: 1-1\n');
    expect(helped.text).toContain('data: [DONE]');
    blocking.socket.destroy();
  });

  it('writes the rest of a stream to whoever has its last event', async () => {
    const whole = await post(`${node.url}${path}`, { ...endless, max_tokens: 30 }, { 'x-resumable': 'true' });
    const events = whole.text.split('\n\n').filter((event) => event.startsWith('id: '));
    const id = whole.headers.get('x-stream-id')!;
    for (const [index, event] of events.entries()) {
      const lastEventId = /^id: (.*)/.exec(event)![1]!;
      const rest = await get(`${node.url}/v1/streams/${id}`, { 'last-event-id': lastEventId });
      expect(rest.text).toBe([...events.slice(index + 1), 'data: [DONE]', ''].join('\n\n'));
    }
    expect((await get(`${node.url}/v1/streams/${id}`)).text).toBe(whole.text);
    expect((await get(`${node.url}/v1/streams/chatcmpl-none`)).status).toBe(404);
  });

  it('lets a resumable request run on when its client is cut off, until it is told to end', async () => {
    const reply = await fetch(`${node.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-resumable': 'true' },
      body: JSON.stringify(endless),
    });
    const id = reply.headers.get('x-stream-id')!;
    await reply.body!.cancel();
    expect((await get(`${node.url}/v1/streams/${id}`)).text).toContain('data: [DONE]');
    const again = await fetch(`${node.url}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'x-resumable': 'true' },
      body: JSON.stringify(endless),
    });
    const url = `${node.url}/v1/streams/${again.headers.get('x-stream-id')}`;
    await again.body!.cancel();
    expect((await fetch(url, { method: 'DELETE' })).status).toBe(200);
    await until(() => node.core.stats().running + worker!.core.stats().running === 0);
  });

  it('shows its queue as a page when told to', async () => {
    expect((await get(`${node.url}/admin/queues/`)).text).toContain('<html');
    const queues = JSON.parse((await get(`${node.url}/admin/queues/api/queues?page=1`)).text);
    expect(queues.queues[0].name).toBe('overflow');
  });

  it('sets aside what it cannot understand, and goes on', async () => {
    const queue = new Queue('overflow', { connection: redis.client, prefix: 'chairlift-test' });
    await queue.add('generate', { version: 99 }, { jobId: 'other-version', priority: 1 });
    await queue.add('generate', { version: 1, id: 'malformed' }, { jobId: 'malformed', priority: 1 });
    await until(async () => (await queue.getFailedCount()) === 2);
    const reasons = (await queue.getFailed()).map(({ failedReason }) => failedReason).sort();
    expect(reasons[0]).toMatch(/^cannot be understood: \/\w+: /);
    expect(reasons[1]).toBe('cannot be understood: job format 99, this process reads 1');
    expect((await post(`${node.url}${path}`, short, { 'x-resumable': 'true' })).text).toContain('[DONE]');
    await queue.close();
  });
});
