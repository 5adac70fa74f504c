import { afterEach, describe, expect, it } from 'vitest';
import type { ModelRuntime } from '../../src/engine/engine.js';
import { createSimulatedRuntime } from '../../src/engine/simulated/simulated-engine.js';
import type { LocalServingCore } from '../../src/serving/local-serving-core.js';
import type { GenerationEvent, GenerationRequest } from '../../src/serving/serving-core.js';
import { requestFor, run, startCore as startCoreOf } from '../support/core-client.js';

const cores: LocalServingCore[] = [];
afterEach(async () => {
  await Promise.all(cores.splice(0).map((core) => core.close(0)));
});

function simulatedRuntime(): ModelRuntime {
  const cost = { perPassMs: 0, perTokenMs: 0, perContextTokenMs: 0 };
  return createSimulatedRuntime({
    slotCount: 2,
    contextTokens: 64,
    batchTokens: 32,
    cost,
    meanLengthTokens: 1e9,
  });
}

function startCore(runtime = simulatedRuntime(), faults: string[] = []): LocalServingCore {
  const core = startCoreOf(runtime, { limits: { maxWaiting: 2, maxWaitingTokens: 100 }, faults });
  cores.push(core);
  return core;
}

function request(
  core: LocalServingCore,
  text: string,
  overrides: Partial<GenerationRequest> = {},
): GenerationRequest {
  return requestFor(core, text, { maxTokens: 8, ...overrides });
}

describe('LocalServingCore', () => {
  it('answers each choice of each prompt once, with exact usage', async () => {
    const core = startCore();
    const prompts = [core.codec.encode('one', false), core.codec.encode('two!', false)];
    const answer = await run(core, request(core, '', { prompts, choicesPerPrompt: 2 }));
    expect(answer.text.map((text) => text.length)).toEqual([8, 8, 8, 8]);
    expect(answer.text[0]).toBe(answer.text[1]);
    expect(answer.text[0]).not.toBe(answer.text[2]);
    expect(answer.finished.map(({ choice }) => choice).sort()).toEqual([0, 1, 2, 3]);
    for (const { usage, reason, choice } of answer.finished) {
      expect(reason).toBe('length');
      expect(usage).toMatchObject({ completionTokens: 8, promptTokens: choice < 2 ? 3 : 4 });
    }
  });

  it('ends at a stop string and frees the slot', async () => {
    const core = startCore();
    const whole = (await run(core, request(core, 'stop me', { maxTokens: 30 }))).text[0]!;
    const stop = whole.slice(10, 13);
    const cut = await run(core, request(core, 'stop me', { maxTokens: 30, stopStrings: [stop] }));
    expect(cut.text[0]).toBe(whole.slice(0, whole.indexOf(stop)));
    expect(cut.finished[0]!.reason).toBe('stop');
    expect(core.stats().running).toBe(0);
  });

  it('fills the window when no length is asked for', async () => {
    const core = startCore();
    const answer = await run(core, request(core, 'fill', { maxTokens: null }));
    expect(answer.finished[0]!.usage).toMatchObject({ promptTokens: 4, completionTokens: 60 });
  });

  it('refuses what does not fit, with both numbers, and keeps nothing', () => {
    const core = startCore();
    const tooLong = request(core, 'x'.repeat(60), { maxTokens: 10 });
    expect(() => core.submit(tooLong, () => {})).toThrow(/64 tokens.*70 tokens \(60 in the prompt, 10/);
    expect(core.stats()).toMatchObject({ running: 0, waiting: 0 });
  });

  it('refuses with a time to come back when the line is full', () => {
    const core = startCore();
    for (let count = 0; count < 4; count += 1) core.submit(request(core, 'wait'), () => {});
    expect(() => core.assertAccepting()).toThrow(expect.objectContaining({ code: 'queue_full' }));
    try {
      core.submit(request(core, 'wait'), () => {});
      expect.unreachable();
    } catch (error) {
      expect(error).toMatchObject({ status: 429, retryAfterSeconds: expect.any(Number) });
    }
  });

  it('sends nothing after an abort and frees everything', async () => {
    const core = startCore();
    const events: GenerationEvent[] = [];
    const aborted = request(core, 'gone', { maxTokens: 50, choicesPerPrompt: 3 });
    core.submit(aborted, (event) => events.push(event));
    core.abort(aborted.id);
    core.abort(aborted.id);
    await run(core, request(core, 'after'));
    expect(events).toEqual([]);
    expect(core.stats()).toMatchObject({ running: 0, waiting: 0 });
  });

  it('survives a listener that throws', async () => {
    const faults: string[] = [];
    const core = startCore(simulatedRuntime(), faults);
    core.submit(request(core, 'bad', { maxTokens: 50 }), () => {
      throw new Error('listener');
    });
    await run(core, request(core, 'good'));
    await expect.poll(() => core.stats().running).toBe(0);
    expect(faults).toHaveLength(1);
  });

  it('lets running requests finish while draining, and takes no new ones', async () => {
    const core = startCore();
    const last = run(core, request(core, 'last', { maxTokens: 20 }));
    const closed = core.close(5_000);
    expect(core.state).toBe('draining');
    expect(() => core.submit(request(core, 'late'), () => {})).toThrow(/shutting down/);
    await closed;
    expect((await last).finished[0]).toMatchObject({ reason: 'length' });
  });

  it('cancels what is still running at the deadline', async () => {
    const runtime = simulatedRuntime();
    const core = startCore(runtime);
    const endless = run(core, request(core, 'endless', { maxTokens: null }));
    await core.close(0);
    expect((await endless).finished[0]!.reason).toBe('cancelled');
  });

  it('tells every client when an invariant breaks, and refuses from then on', async () => {
    const runtime = simulatedRuntime();
    runtime.engine.run = async () => {
      throw new Error('broken');
    };
    const core = startCore(runtime);
    const answer = await run(core, request(core, 'doomed'));
    expect(answer.finished[0]!.reason).toBe('error');
    expect(core.state).toBe('failed');
    expect(() => core.assertAccepting()).toThrow(expect.objectContaining({ code: 'engine_failed' }));
  });

  it('sends the text of a token before the call that made it is over', async () => {
    const runtime = simulatedRuntime();
    const { engine } = runtime;
    const runForReal = engine.run.bind(engine);
    const order: string[] = [];
    engine.run = async (plan, onToken) => {
      const ran = await runForReal(plan, onToken);
      order.push('call');
      return ran;
    };
    const core = startCore(runtime);
    await new Promise<void>((resolve) => {
      core.submit(request(core, 'prompt', { maxTokens: 2 }), (event) => {
        order.push(event.type);
        if (event.type === 'finished') resolve();
      });
    });
    expect(order).toEqual(['text', 'call', 'text', 'call', 'finished']);
  });

  it('holds a call for a client that asks again at once, and begins with its prompt', async () => {
    const cost = { perPassMs: 50, perTokenMs: 0, perContextTokenMs: 0 };
    const shape = { slotCount: 2, contextTokens: 64, batchTokens: 32 };
    const runtime = createSimulatedRuntime({ ...shape, cost, meanLengthTokens: 1e9 });
    const { engine } = runtime;
    const runForReal = engine.run.bind(engine);
    const riders: number[][] = [];
    engine.run = (plan, onToken) => {
      riders.push(plan.rows.map(({ sequenceId }) => sequenceId));
      return runForReal(plan, onToken);
    };
    let holds = 0;
    const core = startCoreOf(runtime, { policy: { itlTargetMs: null }, observer: { held: () => holds++ } });
    cores.push(core);
    core.submit(request(core, 'reader', { maxTokens: 40 }), () => {});
    await run(core, request(core, 'once', { maxTokens: 2 }));
    await run(core, request(core, 'once more', { maxTokens: 1 }));
    expect(holds).toBeGreaterThan(0);
    expect(riders.slice(0, 3)).toEqual([[1, 2], [1, 2], [3]]);
  });

  it('computes again when the engine lost a slot, with the same text', async () => {
    const undisturbed = await run(startCore(), request(startCore(), 'same text', { maxTokens: 20 }));
    const runtime = simulatedRuntime();
    const { slotTokens } = runtime.engine;
    let checks = 0;
    runtime.engine.slotTokens = (slot) => {
      checks += 1;
      return checks === 5 ? 1 : slotTokens.call(runtime.engine, slot);
    };
    const core = startCore(runtime);
    const disturbed = await run(core, request(core, 'same text', { maxTokens: 20 }));
    expect(disturbed.tokens).toEqual(undisturbed.tokens);
  });

  it('shares cached prefixes within a tenant and a salt only, and says exactly how much', async () => {
    const core = startCore();
    const cachedTokens = async (overrides: Partial<GenerationRequest>) => {
      const answer = await run(core, request(core, 'the same long prompt', { maxTokens: 4, ...overrides }));
      return answer.finished[0]!.usage.cachedTokens;
    };
    expect(await cachedTokens({ tenant: 'first' })).toBe(0);
    expect(await cachedTokens({ tenant: 'first' })).toBe(19);
    expect(await cachedTokens({ tenant: 'second' })).toBe(0);
    expect(await cachedTokens({ tenant: 'first', cacheSalt: 'secret' })).toBe(0);
    expect(await cachedTokens({ tenant: 'second', cacheSalt: 'secret' })).toBe(0);
    expect(await cachedTokens({ tenant: 'second', cacheSalt: 'secret' })).toBe(19);
  });

  it('computes the prompt of several choices once', async () => {
    const cost = { perPassMs: 0.5, perTokenMs: 0.2, perContextTokenMs: 0 };
    const shape = { slotCount: 4, contextTokens: 128, batchTokens: 32 };
    const runtime = createSimulatedRuntime({ ...shape, cost, meanLengthTokens: 1e9 });
    const operationCosts = { ...runtime.engine.slotAbilities.operationCosts, copyMs: 0.01 };
    Object.assign(runtime.engine, { slotAbilities: { ...runtime.engine.slotAbilities, operationCosts } });
    const core = startCoreOf(runtime);
    cores.push(core);
    const choices = request(core, 'x'.repeat(100), { choicesPerPrompt: 4, maxTokens: 4 });
    const answer = await run(core, choices);
    const cached = answer.finished.map(({ usage }) => usage.cachedTokens).sort((left, right) => left - right);
    expect(cached).toEqual([0, 99, 99, 99]);
    expect(new Set(answer.text).size).toBe(1);
    expect(core.stats().cache.hitTokens['wait-and-copy']).toBe(3 * 99);
  });
});
