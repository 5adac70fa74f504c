import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { StopSignals } from '../../src/cli/stop-signals.js';

let endings: number[];
let signals: StopSignals;
let nowMs: number;
const others = { SIGINT: process.listeners('SIGINT'), SIGTERM: process.listeners('SIGTERM') };

beforeEach(() => {
  // The test runner listens too.
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.removeAllListeners(name);
  nowMs = 1_000;
  vi.spyOn(performance, 'now').mockImplementation(() => nowMs);
  endings = [];
  signals = new StopSignals((exitCode) => endings.push(exitCode));
});

afterEach(() => {
  vi.restoreAllMocks();
  signals.stopListening();
  for (const name of ['SIGINT', 'SIGTERM'] as const)
    for (const listener of others[name]) process.on(name, listener);
});

it('the first signal asks to stop and ends nothing', async () => {
  expect(signals.abortSignal.aborted).toBe(false);
  process.emit('SIGTERM', 'SIGTERM');
  expect(await signals.first).toBe('SIGTERM');
  expect(signals.abortSignal.aborted).toBe(true);
  expect(endings).toEqual([]);
});

it.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)('a second signal ends at once: %s with exit code %i', (name, exitCode) => {
  process.emit('SIGINT', 'SIGINT');
  nowMs += 301;
  process.emit(name, name);
  expect(endings).toEqual([exitCode]);
});

it('the echo of the first, which npm makes, does not count', () => {
  process.emit('SIGINT', 'SIGINT');
  nowMs += 5;
  process.emit('SIGINT', 'SIGINT');
  expect(endings).toEqual([]);
});

it('nothing is heard after stopListening', () => {
  signals.stopListening();
  process.emit('SIGINT', 'SIGINT');
  expect(signals.abortSignal.aborted).toBe(false);
});
