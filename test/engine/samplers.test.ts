import type { LlamaContext } from 'node-llama-cpp';
import { afterAll, beforeAll, expect, it } from 'vitest';
import {
  type NativeContext,
  openNativeContext,
  samplerConfig,
} from '../../src/engine/llama/native-context.js';
import { Samplers } from '../../src/engine/llama/samplers.js';
import { greedySampling, type SamplingParameters } from '../../src/engine/sampling-parameters.js';
import { tinyModelPath } from '../support/models.js';

let context: LlamaContext;
let native: NativeContext;
let createSampler: ReturnType<typeof openNativeContext>['createSampler'];

beforeAll(async () => {
  const { getLlama } = await import('node-llama-cpp');
  const llama = await getLlama({ build: 'never', progressLogs: false, maxThreads: 1 });
  const model = await llama.loadModel({ modelPath: tinyModelPath });
  context = await model.createContext({ sequences: 1, contextSize: 256, batchSize: 64, threads: 1 });
  ({ native, createSampler } = openNativeContext(model, context));
});
afterAll(() => context.dispose());

function open(samplers: Samplers, sequenceId: number, changes: Partial<SamplingParameters> = {}) {
  const sampling = { ...greedySampling, ...changes };
  samplers.open(sequenceId, sampling, samplerConfig(sampling, Uint32Array.of(300), new Set([2]), 256));
  return samplers.get(sequenceId);
}

it('greedy sequences share a sampler, and whoever has something of its own does not', () => {
  const samplers = new Samplers(createSampler, true);
  const shared = open(samplers, 1);
  expect(open(samplers, 2)).toBe(shared);
  const withoutEnd = open(samplers, 3, { ignoreEndToken: true });
  expect(open(samplers, 4, { ignoreEndToken: true })).toBe(withoutEnd);
  const own = [
    open(samplers, 5, { temperature: 1 }),
    open(samplers, 6, { presencePenalty: 1 }),
    open(samplers, 7, { repetitionPenalty: 1.1 }),
    open(samplers, 8, { logitBias: new Map([[5, 1]]) }),
  ];
  expect(new Set([shared, withoutEnd, ...own]).size).toBe(6);
  samplers.closeAll();
});

it('nothing is shared where rows are sampled in parallel', () => {
  const samplers = new Samplers(createSampler, false);
  expect(open(samplers, 1)).not.toBe(open(samplers, 2));
  samplers.closeAll();
});

it('a shared sampler goes on when one of its sequences ends', async () => {
  native.initBatch(3);
  const [batchIndex] = native.addToBatch(0, 0, Uint32Array.of(300, 301, 302), Uint32Array.of(2));
  await native.decodeBatch();
  const alone = new Samplers(createSampler, false);
  const expected = await native.sampleToken(batchIndex!, open(alone, 1));
  const samplers = new Samplers(createSampler, true);
  open(samplers, 1);
  open(samplers, 2);
  samplers.close(1);
  expect(() => samplers.get(1)).toThrow('sequence 1 has no sampler');
  expect(await native.sampleToken(batchIndex!, samplers.get(2))).toBe(expected);
  samplers.closeAll();
  alone.closeAll();
});
