import fc from 'fast-check';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { classAgingMs, OverflowQueue, overflowCost, priorityClasses } from '../../scheduler/index.js';
import { greedySampling } from '../../src/engine/sampling-parameters.js';
import { silentOverflowObserver } from '../../src/metrics/overflow-observer.js';
import type { TakenJob } from '../../src/overflow/overflow-store.js';
import { RedisLink } from '../../src/overflow/redis-link.js';
import { RedisStore } from '../../src/overflow/redis-store.js';
import type { GenerationEvent, GenerationRequest } from '../../src/serving/serving-core.js';
import { until } from '../support/http-client.js';
import { describeWithRedis, startRedis, type TestRedis } from '../support/redis-server.js';

const lockMs = 600;
const model = { id: 'm', createdSeconds: 0, source: '', sizeBytes: 0, contextTokens: 64, slotCount: 1 };

/** Stores of several processes over one Redis, without anything that computes. */
describeWithRedis('the order in Redis', () => {
  let redis: TestRedis;
  let links: RedisLink[];
  let stores: RedisStore[];
  let count: number;
  let expired: number;
  let finishedPerSecond: number;

  beforeEach(async () => {
    redis = await startRedis();
    [links, stores, count, expired, finishedPerSecond] = [[], [], 0, 0, 0];
  });

  afterEach(async () => {
    await Promise.all(stores.map((store) => store.close()));
    await redis.stop();
  });

  async function open(takes: boolean, maxOverflow = 1000): Promise<RedisStore> {
    const onFault = () => {};
    const link = new RedisLink({ url: redis.url, onFault });
    links.push(link);
    const store = new RedisStore({
      ...{ link, takes, maxOverflow, lockMs, onFault, keyPrefix: 'order', retentionMs: 10_000 },
      nodeId: `node-${links.length}`,
      announce: () => ({ model, finishedPerSecond }),
      codec: () => null,
      observer: {
        ...silentOverflowObserver,
        expired() {
          expired += 1;
        },
      },
    });
    stores.push(store);
    link.start();
    await until(() => store.redis === 'up');
    return store;
  }

  async function add(
    store: RedisStore,
    fields: Partial<GenerationRequest>,
    agoMs = 0,
    listener: (event: GenerationEvent) => void = () => {},
  ): Promise<string> {
    count += 1;
    const request: GenerationRequest = {
      ...{ id: `request-${count}`, prompts: [Uint32Array.of(1)], choicesPerPrompt: 1, maxTokens: 800 },
      ...{ sampling: greedySampling, stopStrings: [], cacheSalt: '', queueTimeoutMs: null },
      ...{ priorityClass: 'interactive', tenant: 'a', ...fields },
    };
    await store.add({ request, arrivedAtMs: Date.now() - agoMs, deadlineAtMs: null }, listener);
    return request.id;
  }

  async function takeAll(store: RedisStore): Promise<string[]> {
    const ids: string[] = [];
    for (let job = await store.take(); job; job = await store.take()) ids.push(job.request.id);
    return ids;
  }

  async function take(store: RedisStore): Promise<TakenJob> {
    const job = await store.take();
    expect(job).not.toBeNull();
    return job!;
  }

  const waiting = () => redis.client.zcard('order:overflow:prioritized');

  it('is the tenant’s own after a job was put back, whatever came meanwhile', async () => {
    const [gateway, worker] = [await open(false), await open(true)];
    const [first, second] = [await add(gateway, {}), await add(gateway, {})];
    const taken = [await take(worker), await take(worker)];
    // Nobody waits now, so that the tenant's next one starts without debts.
    const third = await add(gateway, {});
    taken[1]!.putBack();
    await until(async () => (await waiting()) === 2);
    const fourth = await add(gateway, {});
    taken[0]!.putBack();
    await until(async () => (await waiting()) === 4);
    expect(await takeAll(worker)).toEqual([first, second, third, fourth]);
  });

  it('is the old one for the jobs of a worker that fell silent, higher classes first', async () => {
    const [gateway, silent, worker] = [await open(false), await open(true), await open(true)];
    const ids: string[] = [];
    for (let index = 0; index < 6; index += 1) ids.push(await add(gateway, { priorityClass: 'standard' }));
    for (let index = 0; index < 5; index += 1) await take(silent);
    await links[1]!.close();
    const urgent = await add(gateway, { tenant: 'b' });
    await until(async () => (await waiting()) === 7, 10_000);
    expect(await takeAll(worker)).toEqual([urgent, ...ids]);
  });

  it('lets whoever holds the client know that a request waits again', async () => {
    const [owner, worker] = [await open(false), await open(true)];
    await add(owner, {});
    const job = await take(worker);
    await job.begin();
    await until(() => owner.queuedOf('a') === 0);
    job.putBack();
    await until(() => owner.queuedOf('a') === 1);
    await (await take(worker)).begin();
    await until(() => owner.queuedOf('a') === 0);
  });

  it('is kept for nobody whose deadline has passed, which counts', async () => {
    const [gateway, worker] = [await open(false), await open(true)];
    const heard: GenerationEvent[] = [];
    const id = await add(gateway, {}, 0, (event) => heard.push(event));
    const data = JSON.parse((await redis.client.hget(`order:overflow:${id}`, 'data'))!);
    await redis.client.hset(`order:overflow:${id}`, 'data', JSON.stringify({ ...data, deadlineAtMs: 1 }));
    expect(await (await take(worker)).begin()).toBeNull();
    await until(() => heard.length > 0);
    expect(heard).toMatchObject([{ type: 'finished', reason: 'expired' }]);
    expect(expired).toBe(1);
  });

  it('lets a lower class pass that has waited longer by what the line allows', async () => {
    const [gateway, worker] = [await open(false), await open(true)];
    const interactive = await add(gateway, {});
    const young = await add(gateway, { priorityClass: 'standard', tenant: 'young' }, classAgingMs - 5_000);
    expect((await take(worker)).request.id).toBe(interactive);
    const old = await add(gateway, { priorityClass: 'batch' }, 2 * classAgingMs + 5_000);
    const later = await add(gateway, {});
    expect(await takeAll(worker)).toEqual([old, later, young]);
  });

  it('survives a Redis that lost everything: what waits comes back in its order', async () => {
    const [gateway, worker] = [await open(false), await open(true)];
    const ids = [await add(gateway, {}), await add(gateway, {}), await add(gateway, {})];
    await redis.client.flushall();
    await links[0]!.commands.client('KILL', 'TYPE', 'pubsub');
    await until(async () => (await waiting()) === 3, 10_000);
    ids.push(await add(gateway, {}));
    expect(await takeAll(worker)).toEqual(ids);
  });

  it('holds what comes after such a loss back until the lost are there again', async () => {
    const [gateway, worker] = [await open(false), await open(true)];
    const ids = [await add(gateway, {}), await add(gateway, {}), await add(gateway, {})];
    let next: Promise<string> | null = null;
    let isLost = false;
    links[0]!.onUp(() => {
      if (isLost) next = add(gateway, {});
    });
    await redis.client.flushall();
    isLost = true;
    await links[0]!.commands.client('KILL', 'TYPE', 'pubsub');
    await until(() => next !== null);
    ids.push(await next!);
    expect(await takeAll(worker)).toEqual(ids);
  });

  it('is known at once to whoever puts its own request back, also after another attempt', async () => {
    const node = await open(true);
    await add(node, {});
    const first = await take(node);
    await first.begin();
    expect(node.queuedOf('a')).toBe(0);
    first.putBack();
    expect(node.queuedOf('a')).toBe(1);
    await until(async () => (await waiting()) === 1);
    const second = await take(node);
    await second.begin();
    await until(() => node.queuedOf('a') === 0);
    second.putBack();
    expect(node.queuedOf('a')).toBe(1);
  });

  it('does not forget that a request waits again when its beginning is heard of late', async () => {
    const [owner, worker] = [await open(false), await open(true)];
    const id = await add(owner, {});
    await links[0]!.subscriber.unsubscribe('order:to:node-1');
    const job = await take(worker);
    await job.begin();
    job.putBack();
    await until(async () => (await waiting()) === 1);
    // It reads what it was not told.
    await links[0]!.commands.client('KILL', 'TYPE', 'pubsub');
    const reads = async () => /cmdstat_xrange:calls=(\d+)/.exec(await redis.client.info('commandstats'))?.[1];
    await until(async () => (await reads()) !== undefined && owner.redis === 'up');
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(owner.queuedOf('a')).toBe(1);
    expect(await takeAll(worker)).toEqual([id]);
  });

  it('of frames is the stream’s: what one attempt wrote unheard comes before the next', async () => {
    const [owner, worker] = [await open(false), await open(true)];
    const heard: GenerationEvent[] = [];
    await add(owner, {}, 0, (event) => heard.push(event));
    const says = (text: string) => ({ type: 'text', choice: 0, text, tokens: [1] }) as const;
    const first = await take(worker);
    await first.begin();
    first.deliver(says('one '));
    await until(() => heard.length === 1);
    await links[0]!.subscriber.unsubscribe('order:to:node-1');
    first.deliver(says('two '));
    first.putBack();
    await until(async () => (await waiting()) === 1);
    await links[0]!.subscriber.subscribe('order:to:node-1');
    const second = await take(worker);
    const { resume } = (await second.begin())!;
    expect(resume).toEqual([{ tokens: [1, 1], finished: false }]);
    second.deliver(says('three'));
    await until(() => heard.length === 3);
    expect(heard.map((event) => event.type === 'text' && event.text)).toEqual(['one ', 'two ', 'three']);
  });

  it('is between tenants and classes what the scheduler’s queue says, whatever they ask for', async () => {
    const [gateway, worker] = [await open(false), await open(true)];
    const step = fc.record({
      tenant: fc.constantFrom('a', 'b', 'c'),
      priorityClass: fc.constantFrom(...priorityClasses),
      maxTokens: fc.integer({ min: 1, max: 2000 }),
      takes: fc.nat(2),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const queue = new OverflowQueue<null>();
        const [expected, taken]: string[][] = [[], []];
        const takeOne = async () => {
          expected!.push(queue.take()?.id ?? 'none');
          taken!.push((await worker.take())?.request.id ?? 'none');
        };
        await redis.client.del('order:start-times');
        for (const { takes, ...fields } of steps) {
          const id = await add(gateway, fields);
          const { priorityClass, tenant, maxTokens } = fields;
          const asked = { promptTokens: 1, promptCharacters: 0, choices: 1, maxTokens };
          queue.add(id, queue.place(priorityClass, tenant, overflowCost(asked), Date.now()), null);
          for (let count = 0; count < takes; count += 1) await takeOne();
        }
        while (queue.size > 0) await takeOne();
        expect(taken).toEqual(expected);
      }),
      { numRuns: 20 },
    );
  });

  it('says by the pace of all workers when to come back', async () => {
    finishedPerSecond = 1.5;
    const gateways = [await open(false, 60), await open(true, 60)];
    await until(() => gateways[0]!.directory.finishedPerSecond === 3);
    for (let queued = 0; queued < 60; queued += 1) await add(gateways[0]!, {});
    // Half of sixty, three a second.
    await expect(add(gateways[0]!, {})).rejects.toMatchObject({ code: 'queue_full', retryAfterSeconds: 10 });
  });

  it('loses nobody to the garbage behind it', async () => {
    const [gateway, worker] = [await open(false), await open(true)];
    const [first, broken] = [await add(gateway, {}), await add(gateway, {})];
    // Its beginning fails, so that it is locked and nobody has it.
    await redis.client.set(`order:tok:${first}`, 'no stream');
    await expect((await take(worker)).begin()).rejects.toThrow('WRONGTYPE');
    await redis.client.hset(`order:overflow:${broken}`, 'opts', '{"broken');
    expect(await worker.take()).toBeNull();
    expect(await redis.client.zrange('order:overflow:failed', 0, -1)).toEqual([broken]);
    await redis.client.del(`order:tok:${first}`);
    await until(async () => (await waiting()) === 1);
    expect(await takeAll(worker)).toEqual([first]);
  });

  it('never lets more in than the limit, whoever comes at once', async () => {
    const limit = 20;
    const gateways = [await open(false, limit), await open(false, limit)];
    const outcomes = await Promise.allSettled(
      Array.from({ length: 200 }, (_, index) => add(gateways[index % 2]!, { tenant: `t${index % 7}` })),
    );
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(limit);
    for (const outcome of outcomes)
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'queue_full' });
    expect(await waiting()).toBe(limit);
  });
});
