import { afterAll, beforeAll, expect, it } from 'vitest';
import { ChairliftProcess, killChairliftProcesses } from '../support/chairlift-process.js';
import { until } from '../support/http-client.js';
import { expectInOrder, resumeStream, streamCompletion } from '../support/live-stream.js';
import { describeWithRedis, startRedis, type TestRedis } from '../support/redis-server.js';
import { simulatedText } from '../support/simulated-text.js';

const lockMs = 1_000;
const resumable = { 'x-resumable': 'true' };

const endless = (prompt: string, tokens: number) => ({ prompt, max_tokens: tokens, ignore_eos: true });

/** Two gateways and one worker with the simulated engine, which says about 130 tokens a second, each a process. */
describeWithRedis('when processes fall silent', () => {
  let redis: TestRedis;
  let dying: ChairliftProcess;
  let staying: ChairliftProcess;
  let worker: ChairliftProcess;

  beforeAll(async () => {
    redis = await startRedis();
    const shared = ['--redis-url', redis.url, '--redis-lock-ms', String(lockMs)];
    [dying, staying, worker] = await Promise.all([
      ChairliftProcess.start([...shared, '--role', 'gateway']),
      ChairliftProcess.start([...shared, '--role', 'gateway']),
      ChairliftProcess.start([
        ...shared,
        '--role',
        'worker',
        '--engine',
        'sim',
        '--slots',
        '2',
        '--context',
        '8192',
      ]),
    ]);
    for (const gateway of [dying, staying]) await until(async () => (await gateway.health()).status === 'ok');
  });

  afterAll(async () => {
    await killChairliftProcesses();
    await redis?.stop();
  });

  const job = (request: string) => `chairlift:overflow:${request}`;

  it('the only worker, paused past its lock, goes on where it was', async () => {
    const body = endless('a paused worker', 500);
    const stream = streamCompletion(staying.url, body);
    await stream.begun();
    worker.signal('SIGSTOP');
    await until(async () => (await redis.client.exists(`${job(stream.request!)}:lock`)) === 0);
    worker.signal('SIGCONT');
    await stream.ended;
    expect(stream.error).toBeNull();
    expect(stream.text).toBe(simulatedText(body.prompt, body.max_tokens));
    expect(stream.usage).toMatchObject({ completion_tokens: body.max_tokens });
    expectInOrder(stream.ids);
    await until(async () => (await redis.client.exists(job(stream.request!))) === 0);
  });

  // 8,000 tokens last for some seconds: on a machine held up for longer, the request ends by itself before it is dropped.
  it('a dead gateway’s requests are dropped, and a resumable one is read from another', {
    retry: 1,
  }, async () => {
    const wanted = endless('wanted', 600);
    const kept = streamCompletion(dying.url, wanted, resumable);
    const vanished = streamCompletion(dying.url, endless('vanished', 8_000));
    await Promise.all([kept.begun(), vanished.begun()]);
    streamCompletion(dying.url, endless('vanished in line', 8_000));
    await until(async () => (await redis.client.zcard('chairlift:overflow:prioritized')) === 1);
    await dying.kill();
    await Promise.all([kept.ended, vanished.ended]);
    expect(kept.isDone).toBe(false);

    const rest = resumeStream(staying.url, kept.request!, kept.ids.at(-1));
    const later = streamCompletion(staying.url, endless('later', 20));
    await rest.ended;
    expect(rest.error).toBeNull();
    expect(kept.text + rest.text).toBe(simulatedText(wanted.prompt, wanted.max_tokens));
    expect(rest.isDone).toBe(true);
    expectInOrder([...kept.ids, ...rest.ids]);

    await until(async () => (await worker.health()).slots.running === 0, 20_000);
    await until(async () => (await redis.client.exists(job(vanished.request!))) === 0);
    const frames = await redis.client.xrange(`chairlift:tok:${vanished.request}`, '-', '+');
    expect(frames.some(([, [, frame]]) => frame!.includes('"r"'))).toBe(false);
    await later.ended;
    expect(later.text).toBe(simulatedText('later', 20));
    expect(await redis.client.zcard('chairlift:overflow:prioritized')).toBe(0);
  });
});
