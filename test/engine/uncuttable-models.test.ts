import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TickPlan } from '../../scheduler/index.js';
import type { ModelRuntime, TokenListener } from '../../src/engine/engine.js';
import type { LlamaEngine } from '../../src/engine/llama/llama-engine.js';
import { loadLlamaRuntime } from '../../src/engine/llama/load-llama-runtime.js';
import { greedySampling } from '../../src/engine/sampling-parameters.js';
import type { LocalServingCore } from '../../src/serving/local-serving-core.js';
import { measureCallCost } from '../../src/serving/measure-call-cost.js';
import type { GenerationRequest } from '../../src/serving/serving-core.js';
import { type Answer, requestFor, run, startCore } from '../support/core-client.js';
import { SeededRandom } from '../support/seeded-random.js';
import { writeHybridModel, writeRecurrentModel, writeSlidingWindowModel } from './support/random-models.js';

const shape = { slots: 4, contextTokens: 1024, batchTokens: 128, threads: 1 };
const firstWord = 4;
const words = 1280 - firstWord;
const sampling = { ...greedySampling, ignoreEndToken: true };

const random = new SeededRandom(5);
const draw = (length: number) => Uint32Array.from({ length }, () => firstWord + random.below(words));
const joined = (...parts: Uint32Array[]) => Uint32Array.from(parts.flatMap((part) => [...part]));
const story = draw(300);
const short = draw(20);
/** Shorter and longer than a sliding window, with common beginnings and without. */
const prompts = [
  story,
  joined(story, draw(40)),
  joined(story.subarray(0, 250), draw(20)),
  short,
  draw(700),
  joined(draw(1), short.subarray(1)),
];
const answerTokens = [40, 9, 25, 60, 16, 33];
/** Random weights like many words about as well: between logits this close the order of additions decides. */
const nearTie = 0.01;

const kinds = [
  ['a recurrent state', (path: string) => writeRecurrentModel(path, 1)],
  ['a state beside attention', (path: string) => writeHybridModel(path, 1)],
  [
    'a sliding window',
    (path: string) => writeSlidingWindowModel(path, 1, { windowTokens: 32, trainedTokens: 4096 }),
  ],
] as const;

describe.each(kinds)('a model with %s', (_, write) => {
  let directory: string;
  let modelPath: string;
  let fresh: number[][];
  let runtime: ModelRuntime;
  let core: LocalServingCore;
  const plans: TickPlan[] = [];
  const faults: string[] = [];

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'uncuttable-'));
    modelPath = join(directory, 'random.gguf');
    await write(modelPath);
    fresh = [];
    for (const index of prompts.keys()) {
      const unused = startCore(await loadLlamaRuntime({ modelPath, ...shape }));
      fresh.push((await run(unused, ask(unused, index))).tokens[0]!);
      await unused.close(0);
    }
    runtime = await loadLlamaRuntime({ modelPath, ...shape });
    const { engine } = runtime;
    const runPlan = engine.run.bind(engine);
    const operationCosts = { ...engine.slotAbilities.operationCosts, copyMs: 1e-6 };
    Object.assign(engine, {
      slotAbilities: { ...engine.slotAbilities, operationCosts },
      run(plan: TickPlan, onToken?: TokenListener) {
        plans.push(plan);
        return runPlan(plan, onToken);
      },
    });
    core = startCore(runtime, { faults });
  });

  afterAll(async () => {
    await core.close(0);
    rmSync(directory, { recursive: true });
  });

  function ask(by: LocalServingCore, index: number, overrides: Partial<GenerationRequest> = {}) {
    const own = { prompts: [prompts[index]!], maxTokens: answerTokens[index]!, sampling };
    return requestFor(by, '', { ...own, ...overrides });
  }

  async function expectFresh(answers: readonly Answer[], indexes: readonly number[]): Promise<void> {
    for (const [place, { tokens, finished }] of answers.entries()) {
      const index = indexes[place]!;
      const expected = fresh[index]!;
      const parting = expected.findIndex((token, at) => tokens[0]![at] !== token);
      expect(finished[0]!.usage).toMatchObject({ completionTokens: expected.length, cachedTokens: 0 });
      if (parting === -1) continue;
      const before = joined(prompts[index]!, Uint32Array.from(expected.slice(0, parting)));
      const [best, second] = await (runtime.engine as LlamaEngine).topLogits(before, 2);
      expect(best!.logit - second!.logit, `prompt ${index}, token ${parting}`).toBeLessThan(nearTie);
    }
  }

  it('is found to be unable to cut tails, and to remember the first word', () => {
    expect(fresh[5]).not.toEqual(fresh[3]!.slice(0, answerTokens[5]));
    expect(runtime.engine.slotAbilities.reusePrefixes).toBe(false);
  });

  it('says in a used slot what it says in a new one', async () => {
    const order = [0, 0, 1, 2, 5, 0, 4, 3];
    const answers: Answer[] = [];
    for (const index of order) answers.push(await run(core, ask(core, index)));
    await expectFresh(answers, order);
  });

  it('says in company what it says alone', async () => {
    const order = [...prompts.keys(), ...prompts.keys()];
    await expectFresh(await Promise.all(order.map((index) => run(core, ask(core, index)))), order);
  });

  it('says after a preemption what it says undisturbed', async () => {
    const before = { ...core.stats().preemptions };
    const slow = [0, 3, 5, 2];
    const urgent = [1, 4, 0, 5];
    const displaced = slow.map((index) => run(core, ask(core, index, { priorityClass: 'batch' })));
    while (core.stats().decoding < shape.slots) await new Promise((resolve) => setImmediate(resolve));
    const answers = urgent.map((index) => run(core, ask(core, index)));
    await expectFresh(await Promise.all([...answers, ...displaced]), [...urgent, ...slow]);
    const { saved, left } = core.stats().preemptions;
    expect(saved).toBe(before.saved);
    expect(left).toBeGreaterThan(before.left);
  });

  it('was never given a token it would have to forget, and slots were moved whole or emptied', () => {
    expect(plans.flatMap(({ fillers }) => fillers ?? [])).toEqual([]);
    const operations = plans.flatMap((plan) => plan.operations);
    expect(new Set(operations.map(({ kind }) => kind))).toEqual(new Set(['truncate', 'copy']));
    for (const operation of operations) {
      if (operation.kind === 'truncate') expect(operation.keepTokens).toBe(0);
    }
    expect(faults).toEqual([]);
  });

  it('can be measured', async () => {
    const measured = await loadLlamaRuntime({ modelPath, ...shape });
    const options = { threadChoices: [1], limitMs: 100, nowMs: () => performance.now() };
    expect((await measureCallCost(measured.engine, options)).perTokenMs).toBeGreaterThanOrEqual(0);
    await measured.engine.close();
  });
});
