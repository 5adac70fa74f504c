import { afterAll, beforeAll, expect, it } from 'vitest';
import { ChairliftProcess, killChairliftProcesses } from '../support/chairlift-process.js';
import { until } from '../support/http-client.js';
import { expectInOrder, type LiveStream, streamCompletion } from '../support/live-stream.js';
import { tinyModelPath } from '../support/models.js';
import { describeWithRedis, startRedis, type TestRedis } from '../support/redis-server.js';

/** Milliseconds after which a silent worker loses its requests. */
const lockMs = 1_500;
/** Over before anybody takes over: a deadline is for the wait, not for what has begun. */
const queueTimeoutMs = 900;

const story = {
  prompt: 'Once upon a time there was a fox',
  max_tokens: 460,
  temperature: 0,
  ignore_eos: true,
};

/** A gateway and workers with the tiny model, each a process. */
describeWithRedis('a worker in the middle of a stream', () => {
  let redis: TestRedis;
  let gateway: ChairliftProcess;
  let workers: ChairliftProcess[];
  let undisturbed: LiveStream;

  beforeAll(async () => {
    redis = await startRedis();
    const shared = ['--redis-url', redis.url, '--redis-lock-ms', String(lockMs)];
    const worker = [
      '--role',
      'worker',
      '--model',
      tinyModelPath,
      '--threads',
      '1',
      '--slots',
      '2',
      '--context',
      '512',
    ];
    [gateway, ...workers] = (await Promise.all([
      ChairliftProcess.start([...shared, '--role', 'gateway', '--queue-timeout-ms', String(queueTimeoutMs)]),
      ChairliftProcess.start([...shared, ...worker, '--no-calibrate']),
      ChairliftProcess.start([...shared, ...worker, '--no-calibrate']),
    ])) as [ChairliftProcess, ...ChairliftProcess[]];
    await until(async () => (await gateway.health()).status === 'ok');
    undisturbed = streamCompletion(gateway.url, story);
    await undisturbed.ended;
    expect(undisturbed).toMatchObject({ status: 200, isDone: true, finishReason: 'length' });
  });

  afterAll(async () => {
    await killChairliftProcesses();
    await redis?.stop();
  });

  /** @returns who computes it, and who does not; the first is stopped, so that nothing more can happen meanwhile */
  async function stopTheOneThatRuns(stream: LiveStream): Promise<[ChairliftProcess, ChairliftProcess[]]> {
    await stream.begun();
    for (const worker of workers) {
      if ((await worker.health()).slots.running === 0) continue;
      worker.signal('SIGSTOP');
      return [worker, workers.filter((other) => other !== worker)];
    }
    throw new Error('no worker runs it');
  }

  async function expectUndisturbed(stream: LiveStream, attempts: number): Promise<void> {
    await stream.ended;
    expect(stream.error).toBeNull();
    expect(stream.text).toBe(undisturbed.text);
    expect(stream.isDone).toBe(true);
    const { prompt_tokens, completion_tokens } = undisturbed.usage!;
    expect(stream.usage).toMatchObject({ prompt_tokens, completion_tokens });
    expectInOrder(stream.ids);
    expect(new Set(stream.ids.map((id) => id.split('-')[0])).size).toBe(attempts);
  }

  it('that is paused past its lock is fenced, and its client sees no repeat and no loss', async () => {
    const stream = streamCompletion(gateway.url, story);
    const [paused] = await stopTheOneThatRuns(stream);
    await expectUndisturbed(stream, 2);
    paused.signal('SIGCONT');
    await until(async () => (await paused.metric('chairlift_overflow_events_total{event="fenced"}')) === 1);
    await until(async () => (await paused.health()).slots.running === 0);
  });

  it('that dies is replaced by another', async () => {
    const stream = streamCompletion(gateway.url, story);
    const [dying, others] = await stopTheOneThatRuns(stream);
    await dying.kill();
    workers = others;
    await expectUndisturbed(stream, 2);
    expect(await others[0]!.metric('chairlift_overflow_events_total{event="retried"}')).toBeGreaterThan(0);
  });
});
