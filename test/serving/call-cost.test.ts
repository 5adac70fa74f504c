import { describe, expect, it } from 'vitest';
import { loadLlamaRuntime } from '../../src/engine/llama/load-llama-runtime.js';
import { expectedMs, fitCallCost, noiseFactor, type TimedCall } from '../../src/serving/call-cost.js';
import { measureCallCost } from '../../src/serving/measure-call-cost.js';
import { tinyModelPath } from '../support/models.js';

describe('fitCallCost', () => {
  /** tick, pass, token, sampled row, attended pair, attended pair of a short row */
  const truth = [1, 5, 3, 2, 0.0005, 0.002];
  const shapes = [
    [1, 1, 1, 1, 1, 1],
    [1, 1, 8, 8, 8, 8],
    [1, 1, 8, 8, 6400, 6400],
    [1, 4, 4, 4, 1000, 1000],
    [1, 1, 256, 1, 32_000, 0],
    [1, 1, 256, 1, 160_000, 0],
    [1, 2, 71, 8, 4000, 1700],
  ];
  const calls = shapes.flatMap((features, index) => {
    const meanMs = features.reduce((sum, value, term) => sum + value * truth[term]!, 0);
    return [0.8, 1, 1.2].map(
      (factor): TimedCall => ({ shape: `${index}`, features, wallMs: meanMs * factor }),
    );
  });

  it('tells attention of short rows from that of long ones, and keeps how much calls vary', () => {
    const cost = fitCallCost(calls);
    for (const features of shapes) {
      const trueMs = features.reduce((sum, value, term) => sum + value * truth[term]!, 0);
      expect(Math.abs(expectedMs(cost, features) / trueMs - 1)).toBeLessThan(0.02);
    }
    expect(new Set(cost.noise!.map(({ factor }) => Number(factor.toFixed(6))))).toEqual(
      new Set([0.8, 1, 1.2]),
    );
  });

  it('counts every shape alike, however often it was timed', () => {
    const often = [...calls, ...Array.from({ length: 50 }, () => calls.slice(0, 3)).flat()];
    const [once, many] = [fitCallCost(calls), fitCallCost(often)];
    expect(many.perTokenMs).toBeCloseTo(once.perTokenMs, 6);
  });
});

it('takes noise from calls of about the same size', () => {
  const small = Array.from({ length: 40 }, () => ({ expectedMs: 10, factor: 2 }));
  const large = Array.from({ length: 40 }, () => ({ expectedMs: 1000, factor: 1 }));
  const noise = [...small, ...large];
  expect(noiseFactor(noise, 8, 0.99)).toBe(2);
  expect(noiseFactor(noise, 2000, 0)).toBe(1);
  expect(noiseFactor(noise.slice(0, 1), 2000, 0.5)).toBe(2);
});

it('measures a real engine and leaves its slots empty', async () => {
  const shape = { slots: 4, contextTokens: 256, batchTokens: 64, threads: 1 };
  const { engine } = await loadLlamaRuntime({ modelPath: tinyModelPath, ...shape });
  const nowMs = () => performance.now();
  const cost = await measureCallCost(engine, { threadChoices: [1], limitMs: 0, nowMs });
  const bigCall = [1, 1, 60, 1, 1830, 0];
  expect(expectedMs(cost, bigCall)).toBeGreaterThan(expectedMs(cost, [1, 1, 1, 1, 1, 1]));
  expect(cost.noise!.length).toBeGreaterThan(20);
  for (let slot = 0; slot < 4; slot += 1) expect(engine.slotTokens(slot)).toBe(0);
  await engine.close();
});
