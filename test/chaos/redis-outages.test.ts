import { afterEach, beforeEach, expect, it } from 'vitest';
import { ChairliftProcess, killChairliftProcesses } from '../support/chairlift-process.js';
import { until } from '../support/http-client.js';
import { expectInOrder, type LiveStream, streamCompletion } from '../support/live-stream.js';
import { describeWithRedis, startRedis, type TestRedis } from '../support/redis-server.js';
import { simulatedText } from '../support/simulated-text.js';

const streamTokens = 300;
const shortTokens = 8;

/** Two nodes that take requests and compute them: a small one that overflows, a roomy one that helps. */
describeWithRedis('when Redis', () => {
  let redis: TestRedis;
  let small: ChairliftProcess;
  let roomy: ChairliftProcess;

  // Anew for each: a node that has overflowed remembers it for a while, and then places requests differently.
  beforeEach(async () => {
    redis = await startRedis();
    const shared = [
      '--redis-url',
      redis.url,
      '--redis-lock-ms',
      '2000',
      '--engine',
      'sim',
      '--context',
      '8192',
    ];
    [small, roomy] = await Promise.all([
      ChairliftProcess.start([...shared, '--slots', '2', '--max-waiting', '1']),
      ChairliftProcess.start([...shared, '--slots', '2']),
    ]);
    await untilRedisIs('up');
  });

  afterEach(async () => {
    await killChairliftProcesses();
    await redis?.stop();
  });

  async function untilRedisIs(state: 'up' | 'degraded'): Promise<void> {
    for (const node of [small, roomy]) await until(async () => (await node.health()).redis === state, 15_000);
  }

  let prompts = 0;

  function start(
    node: ChairliftProcess,
    tokens: number,
  ): { prompt: string; tokens: number; stream: LiveStream } {
    prompts += 1;
    const prompt = `prompt ${prompts}`;
    const stream = streamCompletion(node.url, { prompt, max_tokens: tokens, ignore_eos: true });
    return { prompt, tokens, stream };
  }

  async function expectAnswered({ prompt, tokens, stream }: ReturnType<typeof start>): Promise<void> {
    await stream.ended;
    expect(stream.error).toBeNull();
    expect(stream).toMatchObject({ status: 200, isDone: true, usage: { completion_tokens: tokens } });
    expect(stream.text).toBe(simulatedText(prompt, tokens));
    expectInOrder(stream.ids);
  }

  /** One request after the other, as long as `goesOn`. @returns how many; each must be answered in full */
  async function directTraffic(node: ChairliftProcess, goesOn: () => boolean): Promise<number> {
    let count = 0;
    for (; goesOn(); count += 1) await expectAnswered(start(node, shortTokens));
    return count;
  }

  it.each([
    { fault: 'is killed and comes back', strike: () => redis.kill(), heal: () => redis.restart() },
    {
      fault: 'is out of memory for a while',
      strike: () => redis.client.config('SET', 'maxmemory', '1'),
      heal: () => redis.client.config('SET', 'maxmemory', '0'),
    },
  ])('$fault', async ({ strike, heal }) => {
    const here = Array.from({ length: 3 }, () => start(small, streamTokens));
    await until(async () => (await small.health()).waiting === 1);
    const leaving = start(small, 6_000).stream;
    await leaving.begun();
    const elsewhere = Array.from({ length: 3 }, () => start(small, streamTokens));
    await until(async () => (await roomy.health()).slots.running === 2);
    await until(async () => (await redis.client.zcard('chairlift:overflow:prioritized')) === 2);
    let isOver = false;
    const direct = directTraffic(roomy, () => !isOver);
    direct.catch(() => {});

    await strike();
    await untilRedisIs('degraded');
    leaving.leave();
    const meanwhile = Array.from({ length: 8 }, () => start(small, 100));
    await Promise.all(meanwhile.map(({ stream }) => stream.ended));
    const refused = meanwhile.filter(({ stream }) => stream.status !== 200);
    expect(refused.length).toBeGreaterThan(0);
    for (const { stream } of refused) {
      expect(stream).toMatchObject({ status: 503, error: { code: 'overflow_unavailable' } });
      expect(Number(stream.headers.get('retry-after'))).toBeGreaterThan(0);
    }
    await Promise.all(meanwhile.filter((each) => !refused.includes(each)).map(expectAnswered));

    await heal();
    await untilRedisIs('up');
    const after = Array.from({ length: 7 }, () => start(small, shortTokens));
    await Promise.all([...here, ...elsewhere, ...after].map(expectAnswered));
    isOver = true;
    expect(await direct).toBeGreaterThan(0);
    await until(async () => (await redis.client.keys('chairlift:overflow:cmpl-*')).length === 0, 15_000);
    expect([small.isAlive, roomy.isAlive]).toEqual([true, true]);
  });
});
