import fc from 'fast-check';
import { afterEach, describe, expect, it } from 'vitest';
import { priorityClasses } from '../../scheduler/index.js';
import { greedySampling } from '../../src/engine/sampling-parameters.js';
import { createSimulatedRuntime } from '../../src/engine/simulated/simulated-engine.js';
import { silentOverflowObserver } from '../../src/metrics/overflow-observer.js';
import { MemoryStore } from '../../src/overflow/memory-store.js';
import { Overflow } from '../../src/overflow/overflow.js';
import { OverflowCore } from '../../src/overflow/overflow-core.js';
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
  let expired = 0;
  const open = (maxOverflow = 1000) => {
    const onExpired = () => {
      expired += 1;
    };
    const store = new MemoryStore({ maxOverflow, retryAfterSeconds: () => 7, onExpired });
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

  it('counts who goes before a newcomer by class', async () => {
    const store = open();
    for (const priorityClass of priorityClasses) await store.add(job({ priorityClass }), () => {});
    expect(priorityClasses.map((name) => store.queuedAhead(name))).toEqual([1, 2, 3]);
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
    expect(expired).toBe(1);
  });
});

describe('a core whose line is full', () => {
  const simulatedRuntime = (slotCount: number, perPassMs: number) =>
    createSimulatedRuntime({
      slotCount,
      contextTokens: 64,
      batchTokens: 64,
      cost: { perPassMs, perTokenMs: 0, perContextTokenMs: 0 },
      meanLengthTokens: 20,
    });

  async function startOverflowing(maxOverflow: number, { slotCount = 2, perPassMs = 1 } = {}) {
    const local = startCore(simulatedRuntime(slotCount, perPassMs), {
      limits: { maxWaiting: 1, maxWaitingTokens: 1000 },
    });
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

  it('lets nobody pass one of its own tenant that the line has no room for yet', async () => {
    const { core, local } = await startOverflowing(100, { slotCount: 4, perPassMs: 20 });
    const starts: string[] = [];
    const submit = async (name: string, fields: Partial<GenerationRequest>) => {
      const listen = () => {
        if (!starts.includes(name)) starts.push(name);
      };
      await core.submit(request(fields), listen);
    };
    await submit('long', { maxTokens: 50, choicesPerPrompt: 2 });
    await submit('short', { maxTokens: 4, choicesPerPrompt: 2 });
    await submit('in line', { maxTokens: 1 });
    // Five choices do not fit as long as anybody runs; one does.
    await submit('wide', { choicesPerPrompt: 5 });
    await submit('narrow', {});
    await until(() => starts.includes('wide') && starts.includes('narrow'));
    expect(starts).toEqual(['long', 'short', 'in line', 'wide', 'narrow']);
    expect(local.stats().waiting).toBe(0);
    await core.close(0);
  });

  it.each(['taken from', 'begun with after'] as const)(
    'lets nobody pass one that is being %s the store',
    async (step) => {
      let release = () => {};
      const held = new Promise<void>((resolve) => {
        release = resolve;
      });
      class SlowStore extends MemoryStore {
        override async take() {
          const job = await super.take();
          if (job === null) return null;
          const { begin } = job;
          if (step === 'taken from') await held;
          else
            job.begin = async () => {
              const request = await begin();
              await held;
              return request;
            };
          return job;
        }
      }
      const local = startCore(simulatedRuntime(2, 1), { limits: { maxWaiting: 0, maxWaitingTokens: 1000 } });
      const core = new OverflowCore({
        local,
        store: new SlowStore({ maxOverflow: 10, retryAfterSeconds: () => 1, onExpired: () => {} }),
        announcedModel: () => null,
        targetWaitMs: { interactive: 1000, standard: 1000, batch: 1000 },
        observer: silentOverflowObserver,
        onFault: () => {},
      });
      const ended: string[] = [];
      const submit = (name: string, fields: Partial<GenerationRequest> = {}) =>
        core.submit(request(fields), ({ type }) => {
          if (type === 'finished') ended.push(name);
        });
      await submit('running', { choicesPerPrompt: 2 });
      await submit('earlier');
      await until(() => ended.length === 2 && local.stats().running === 0);
      const later = submit('later');
      const another = submit('of another tenant', { tenant: 'b' });
      setTimeout(release, 50);
      await Promise.all([later, another]);
      await until(() => ended.length === 5);
      expect(ended.filter((name) => name !== 'of another tenant').slice(2)).toEqual(['earlier', 'later']);
      await core.close(0);
    },
  );

  it('tells whoever still waits when it closes', async () => {
    const { core } = await startOverflowing(100);
    const endings: string[] = [];
    for (let count = 0; count < 6; count += 1)
      await core.submit(request({ maxTokens: 50 }), (event) => {
        if (event.type === 'finished') endings.push(event.reason);
      });
    await core.close(0);
    expect(endings).toEqual(Array.from({ length: 6 }, () => 'cancelled'));
  });

  it('expects a newcomer to wait for all who are in line and beyond it', async () => {
    const { core, local } = await startOverflowing(100);
    let finished = 0;
    for (let count = 0; count < 30; count += 1)
      await core.submit(request(), (event) => {
        if (event.type === 'finished') finished += 1;
      });
    await until(() => finished === 10);
    const expectedMs = core.expectedWaitMs('interactive', 'a');
    expect(expectedMs).toBeGreaterThan(local.expectedWaitMs('interactive', 'a'));
    expect(core.expectedWaitMs('batch', 'a')).toBe(expectedMs);
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
