import { expect, test } from 'vitest';
import { LineGate } from '../../src/batch/line-gate.js';

test('lets in as many as the limit says now, in order', async () => {
  let limit = 1;
  const gate = new LineGate(() => limit);
  const entered: number[] = [];
  const enter = (number: number) => gate.enter().then(() => entered.push(number));
  const all = Promise.all([1, 2, 3, 4, 5].map(enter));
  await Promise.resolve();
  expect(entered).toEqual([1]);
  limit = 3;
  gate.leave();
  await Promise.resolve();
  expect([entered, gate.inFlight]).toEqual([[1, 2, 3, 4], 3]);
  limit = 2;
  gate.leave();
  await Promise.resolve();
  expect([entered, gate.inFlight]).toEqual([[1, 2, 3, 4], 2]);
  gate.leave();
  await all;
  expect([entered, gate.inFlight]).toEqual([[1, 2, 3, 4, 5], 2]);
});
