import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { loadLlamaRuntime } from '../../src/engine/llama/load-llama-runtime.js';
import {
  calibrate,
  leftoverShare,
  type Measurement,
  threadChoicesUpTo,
} from '../../src/serving/calibration.js';
import { calibrationFile, readCalibration, writeCalibration } from '../../src/serving/calibration-file.js';
import { tinyModelPath } from '../support/models.js';

const nowMs = () => performance.now();
const processorMs = () => process.cpuUsage().user / 1000;
const shape = { slots: 8, contextTokens: 512, batchTokens: 128, threads: 2 };

it('times every shape with every choice of threads and leaves the slots empty', async () => {
  const { engine } = await loadLlamaRuntime({ modelPath: tinyModelPath, ...shape });
  const { measurements } = await calibrate(engine, [1, 2], 30_000, { nowMs, processorMs });
  expect(new Set(measurements.map(({ threads }) => threads))).toEqual(new Set([1, 2]));
  expect(Math.max(...measurements.map(({ work }) => work.passes))).toBe(4);
  expect(Math.max(...measurements.map(({ work }) => work.sampledRows))).toBe(8);
  for (const { decodeMs } of measurements) expect(decodeMs).toBeGreaterThan(0);
  for (let slot = 0; slot < 8; slot += 1) expect(engine.slotTokens(slot)).toBe(0);
  await engine.close();
});

it('starts no call after the limit', async () => {
  const { engine } = await loadLlamaRuntime({ modelPath: tinyModelPath, ...shape });
  expect((await calibrate(engine, [1], -1, { nowMs, processorMs })).measurements).toEqual([]);
  await engine.close();
});

it('says when others used the cores', async () => {
  const { engine } = await loadLlamaRuntime({ modelPath: tinyModelPath, ...shape });
  const robbed = await calibrate(engine, [1], 30_000, { nowMs, processorMs: () => 0 });
  expect(robbed.undisturbed).toBe(false);
  let usedMs = 0;
  const alone = await calibrate(engine, [1], 30_000, { nowMs, processorMs: () => (usedMs += 1e6) });
  expect(alone.undisturbed).toBe(true);
  await engine.close();
});

it('is kept per model, shape and machine, and a broken file counts as none', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'calibration-'));
  const subject = {
    modelPath: tinyModelPath,
    native: 'prebuilt',
    slotCount: 8,
    contextTokens: 512,
    batchTokens: 128,
    threads: 2,
  };
  const file = await calibrationFile(directory, subject);
  expect(await calibrationFile(directory, { ...subject, threads: 1 })).not.toBe(file);
  expect(await calibrationFile(directory, { ...subject, native: 'local build' })).not.toBe(file);
  expect(await readCalibration(file)).toBeNull();
  const work = { passes: 1, tokens: 1, sampledRows: 1, attendedTokens: 1, leftoverTokens: 0 };
  await writeCalibration(file, [{ work, threads: 1, decodeMs: 5 }]);
  expect(await readCalibration(file)).toEqual([{ work, threads: 1, decodeMs: 5 }]);
  writeFileSync(file, '[{"work":null}]');
  expect(await readCalibration(file)).toBeNull();
});

it('offers 1, 2, 4, ... and the most', () => {
  expect(threadChoicesUpTo(1)).toEqual([1]);
  expect(threadChoicesUpTo(2)).toEqual([1, 2]);
  expect(threadChoicesUpTo(12)).toEqual([1, 2, 4, 8, 12]);
});

it('knows what leftover tokens cost from the quickest calls, where they were timed', () => {
  const call = (tokens: number, decodeMs: number): Measurement => ({
    work: { passes: 1, tokens, sampledRows: 1, attendedTokens: tokens, leftoverTokens: tokens % 4 },
    threads: 2,
    decodeMs,
  });
  const timed = [call(16, 12), call(16, 40), call(15, 17.5), call(64, 36), call(15, 90), call(64, 81)];
  expect(leftoverShare(timed, 2)).toBeCloseTo(4);
  expect(leftoverShare(timed, 1)).toBeNull();
  expect(leftoverShare(timed.slice(0, 3), 2)).toBeNull();
  expect(leftoverShare([...timed, call(15, 11)], 2)).toBe(0);
});
