import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { priorityClasses } from '../../scheduler/index.js';
import { greedySampling } from '../../src/engine/sampling-parameters.js';
import { createSimulatedRuntime } from '../../src/engine/simulated/simulated-engine.js';
import { silentOverflowObserver } from '../../src/metrics/overflow-observer.js';
import { MemoryStore } from '../../src/overflow/memory-store.js';
import { Overflow } from '../../src/overflow/overflow.js';
import type { GenerationEvent, GenerationRequest } from '../../src/serving/serving-core.js';
import { startCore } from '../support/core-client.js';
import { until } from '../support/http-client.js';

let count = 0;
function request(overrides: Partial<GenerationRequest> = {}): GenerationRequest {
  count += 1;
  return {
    id: `request-${count}`,
    prompts: [Uint32Array.of(1, 2, 3)],
    choicesPerPrompt: 1,
    maxTokens: 8,
    sampling: { ...greedySampling, ignoreEndToken: true },
    stopStrings: [],
    priorityClass: 'interactive',
    tenant: 'a',
    cacheSalt: '',
    queueTimeoutMs: null,
    ...overrides,
  };
}

const job = (fields: Partial<GenerationRequest>, deadlineAtMs: number | null = null) => ({
  request: request(fields),
  arrivedAtMs: Date.now(),
  deadlineAtMs,
});

describe('the store', () => {
  const stores: MemoryStore[] = [];
  const open = (maxOverflow = 1000) => {
    const store = new MemoryStore({ maxOverflow, retryAfterSeconds: () => 7 });
    stores.push(store);
    return store;
  };
  afterEach(() => Promise.all(stores.splice(0).map((store) => store.close())));

  it('gives by class, then to the tenant that has had least, then by arrival', async () => {
    const store = open();
    for (const tenant of ['many', 'many', 'many', 'few'])
      await store.add(job({ tenant, maxTokens: 1000 }), () => {});
    await store.add(job({ tenant: 'bulk', priorityClass: 'batch' }), () => {});
    await store.add(job({ tenant: 'people', priorityClass: 'standard' }), () => {});
    const tenants: string[] = [];
    for (let next = await store.take(); next; next = await store.take()) tenants.push(next.request.tenant);
    expect(tenants).toEqual(['many', 'few', 'many', 'many', 'people', 'bulk']);
  });

  it('loses nothing, gives nothing twice, and keeps each tenant’s order inside a class', async () => {
    const step = fc.record({
      tenant: fc.constantFrom('a', 'b', 'c'),
      priorityClass: fc.constantFrom(...priorityClasses),
      maxTokens: fc.integer({ min: 1, max: 2000 }),
      take: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const store = open();
        const added: string[] = [];
        const taken: GenerationRequest[] = [];
        for (const { take, ...fields } of steps) {
          const each = job(fields);
          added.push(each.request.id);
          await store.add(each, () => {});
          const next = take ? await store.take() : null;
          if (next) taken.push(next.request);
        }
        for (let next = await store.take(); next; next = await store.take()) taken.push(next.request);
        expect(taken.map(({ id }) => id).sort()).toEqual(added.sort());
        const seen = new Map<string, number>();
        for (const { id, tenant, priorityClass } of taken) {
          const number = Number(id.slice('request-'.length));
          expect(number).toBeGreaterThan(seen.get(`${tenant} ${priorityClass}`) ?? 0);
          seen.set(`${tenant} ${priorityClass}`, number);
        }
      }),
      { numRuns: 50 },
    );
  });

  it('refuses beyond its limit with the time to come back after', async () => {
    const store = open(1);
    await store.add(job({}), () => {});
    await expect(store.add(job({}), () => {})).rejects.toMatchObject({
      code: 'queue_full',
      retryAfterSeconds: 7,
    });
  });

  it('drops what has waited too long and tells its client', async () => {
    const store = open();
    const events: GenerationEvent[] = [];
    await store.add(job({}, Date.now() - 1), (event) => events.push(event));
    expect(await store.take()).toBeNull();
    expect(events).toMatchObject([{ type: 'finished', reason: 'expired' }]);
  });
});

describe('a core whose line is full', () => {
  async function startOverflowing(maxOverflow: number) {
    const runtime = createSimulatedRuntime({
      slotCount: 2,
      contextTokens: 64,
      batchTokens: 64,
      cost: { perPassMs: 1, perTokenMs: 0, perContextTokenMs: 0 },
      meanLengthTokens: 20,
    });
    const local = startCore(runtime, { limits: { maxWaiting: 1, maxWaitingTokens: 1000 } });
    const faults: string[] = [];
    const overflow = new Overflow({
      config: {
        role: 'all',
        redisUrl: null,
        redisPrefix: 'unused',
        maxOverflow,
        streamRetentionMs: 1000,
        redisLockMs: 1000,
      },
      observer: silentOverflowObserver,
      onFault: (message) => faults.push(message),
    });
    return { core: overflow.inFrontOf(local), local, overflow, faults };
  }

  it('answers everything that could wait, in the order of arrival', async () => {
    const { core, faults } = await startOverflowing(100);
    const finished: number[] = [];
    const submissions = Array.from({ length: 30 }, (_, index) =>
      core.submit(request(), (event) => {
        if (event.type !== 'finished') return;
        expect(event.reason).toBe('length');
        finished.push(index);
      }),
    );
    await Promise.all(submissions);
    await until(() => finished.length === 30);
    expect(finished.map((index) => Math.floor(index / 2))).toEqual(
      finished.map((_, rank) => Math.floor(rank / 2)),
    );
    expect(faults).toEqual([]);
    await core.close(0);
  });

  it('refuses beyond the overflow, and lets go of what its clients left', async () => {
    const { core, overflow, local } = await startOverflowing(2);
    const waiting = Array.from({ length: 5 }, () => request({ maxTokens: 50 }));
    for (const each of waiting) await core.submit(each, () => {});
    await expect(core.submit(request(), () => {})).rejects.toMatchObject({ code: 'queue_full' });
    for (const { id } of waiting) core.abort(id);
    expect((await overflow.depth()).queued.interactive).toBe(0);
    await until(() => local.stats().running === 0);
    await core.submit(request(), () => {});
    await core.close(0);
  });
});
