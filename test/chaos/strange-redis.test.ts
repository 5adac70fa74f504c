import { Queue } from 'bullmq';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { jobFormatVersion } from '../../src/overflow/job-format.js';
import { ChairliftProcess, killChairliftProcesses } from '../support/chairlift-process.js';
import { type DelayingProxy, startDelayingProxy } from '../support/delaying-proxy.js';
import { until } from '../support/http-client.js';
import { expectInOrder, streamCompletion } from '../support/live-stream.js';
import { describeWithRedis, startRedis, type TestRedis } from '../support/redis-server.js';
import { simulatedText } from '../support/simulated-text.js';

const lockMs = 1_000;
const slots = 2;

/** A gateway and a worker that reach Redis through a proxy which can be slow. */
describeWithRedis('a worker whose Redis is strange', () => {
  let redis: TestRedis;
  let proxy: DelayingProxy;
  let gateway: ChairliftProcess;
  let worker: ChairliftProcess;
  let queue: Queue;

  beforeAll(async () => {
    redis = await startRedis();
    proxy = await startDelayingProxy(redis.port);
    queue = new Queue('overflow', { connection: { port: redis.port }, prefix: 'chairlift' });
    const shared = ['--redis-url', `redis://127.0.0.1:${proxy.port}`, '--redis-lock-ms', String(lockMs)];
    const engine = ['--engine', 'sim', '--slots', String(slots), '--context', '8192'];
    [gateway, worker] = await Promise.all([
      ChairliftProcess.start([...shared, '--role', 'gateway']),
      ChairliftProcess.start([...shared, '--role', 'worker', ...engine]),
    ]);
    await until(async () => (await gateway.health()).status === 'ok');
  });

  afterAll(async () => {
    await killChairliftProcesses();
    await queue?.close();
    proxy?.close();
    await redis?.stop();
  });

  beforeEach(() => {
    proxy.delayMs = 0;
  });

  const start = (prompt: string, tokens: number) =>
    streamCompletion(gateway.url, { prompt, max_tokens: tokens, ignore_eos: true });

  async function expectAnswer(prompt: string, tokens: number): Promise<void> {
    const stream = start(prompt, tokens);
    await stream.ended;
    expect(stream.error).toBeNull();
    expect(stream).toMatchObject({ isDone: true, usage: { completion_tokens: tokens } });
    expect(stream.text).toBe(simulatedText(prompt, tokens));
    expectInOrder(stream.ids);
  }

  const active = () => redis.client.lrange('chairlift:overflow:active', 0, -1);
  const waiting = () => redis.client.zrange('chairlift:overflow:prioritized', 0, -1);

  it('answers as always with 50 ms on every way', async () => {
    proxy.delayMs = 50;
    await Promise.all(Array.from({ length: 6 }, (_, index) => expectAnswer(`slow ${index}`, 100)));
    const left = start('leaves', 5_000);
    await left.begun();
    left.leave();
    await until(async () => (await active()).length === 0);
  });

  it('stops computing for a client that leaves, and takes its waiting job away', async () => {
    const running = Array.from({ length: slots }, (_, index) => start(`running ${index}`, 8_000));
    await Promise.all(running.map((stream) => stream.begun()));
    const queued = start('queued', 8_000);
    await until(async () => (await waiting()).length === 1);

    queued.leave();
    await until(async () => (await waiting()).length === 0);
    running[0]!.leave();
    await until(async () => (await worker.health()).slots.running === slots - 1);
    expect(await active()).toEqual([running[1]!.request]);
    running[1]!.leave();
    await until(async () => (await worker.health()).slots.running === 0);
    await until(async () => (await redis.client.keys('chairlift:overflow:cmpl-*')).length === 0);
  });

  it('sets aside what it cannot understand, with a reason, and goes on with the next', async () => {
    const good = await goodJob();
    const broken: [id: string, data: unknown, reason: RegExp][] = [
      ['other-version', { ...good, version: jobFormatVersion + 1 }, /job format 2, this process reads 1/],
      ['other-model', { ...good, id: 'other-model', model: 'elsewhere' }, /for the model elsewhere/],
      ['missing-field', { ...good, sampling: undefined }, /\/sampling/],
      ['wrong-type', { ...good, prompts: 'tell me' }, /\/prompts/],
      ['outside', { ...good, id: 'outside', prompts: [{ tokens: [999_999] }] }, /token id 999999/],
      ['other-id', good, /its id/],
      ['null', null, /cannot be understood/],
      ['number', 7, /cannot be understood/],
    ];
    for (const [jobId, data] of broken) await queue.add('generate', data, { jobId, priority: 1 });
    // What BullMQ itself would not write: data that is no JSON, options that are no JSON, no job at all.
    const raw: [id: string, field: string][] = [
      ['no-json', 'data'],
      ['no-options', 'opts'],
    ];
    for (const [jobId, field] of raw) {
      await queue.add('generate', good, { jobId, priority: 1, delay: 3_600_000 });
      await redis.client.hset(`chairlift:overflow:${jobId}`, field, '{"broken');
      await redis.client.zrem('chairlift:overflow:delayed', jobId);
    }
    for (const jobId of ['no-json', 'no-options', 'nothing'])
      await redis.client.zadd('chairlift:overflow:prioritized', 1, jobId);

    await expectAnswer('after the garbage', 20);
    const reasonOf = async (jobId: string) =>
      redis.client.hget(`chairlift:overflow:${jobId}`, 'failedReason');
    const isSetAside = async (jobId: string) =>
      (await redis.client.zscore('chairlift:overflow:failed', jobId)) !== null;
    for (const [jobId, , reason] of broken) {
      await until(() => isSetAside(jobId));
      expect(await reasonOf(jobId), jobId).toMatch(reason);
    }
    for (const jobId of ['no-json', 'no-options', 'nothing']) {
      await until(() => isSetAside(jobId));
      expect(await reasonOf(jobId), jobId).toMatch(/cannot be/);
    }
    // Nothing of it is tried again, by the next look for silent workers either.
    const attempts = await redis.client.hget('chairlift:overflow:other-version', 'ats');
    await new Promise((resolve) => setTimeout(resolve, 2 * lockMs));
    expect(await redis.client.hget('chairlift:overflow:other-version', 'ats')).toBe(attempts);
    expect(await active()).toEqual([]);
    await expectAnswer('and on', 20);
  });

  /** @returns the data of a job as a gateway writes it */
  async function goodJob(): Promise<Record<string, unknown>> {
    const stream = start('a good one', 5_000);
    await stream.begun();
    const text = await redis.client.hget(`chairlift:overflow:${stream.request}`, 'data');
    stream.leave();
    return JSON.parse(text!) as Record<string, unknown>;
  }
});
