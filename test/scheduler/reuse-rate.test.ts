import { describe, expect, it } from 'vitest';
import { ReuseRate } from '../../scheduler/reuse-rate.js';
import { prompt } from './support.js';

describe('ReuseRate', () => {
  it('rises when conversations come back, even after many others', () => {
    const reuse = new ReuseRate(8);
    const conversation = (number: number, length: number) =>
      Uint32Array.from([...prompt(50), ...prompt(length, 1000 * (number + 1))]);
    for (let turn = 1; turn <= 4; turn += 1) {
      for (let number = 0; number < 100; number += 1) {
        reuse.asked('', conversation(number, 60 * turn));
        reuse.left('', conversation(number, 60 * turn + 20), 50);
      }
    }
    expect(reuse.rate).toBeGreaterThan(0.95);
  });

  it('falls when only what all have in common is asked for', () => {
    const reuse = new ReuseRate(2);
    for (let number = 0; number < 200; number += 1) {
      const oneShot = Uint32Array.from([...prompt(200), ...prompt(64, 1000 * (number + 1))]);
      reuse.asked('', oneShot);
      reuse.left('', oneShot, 200);
    }
    expect(reuse.rate).toBeLessThan(0.05);
    expect(reuse.rate).toBeGreaterThan(0);
  });

  it('does not take another tenant for the same one', () => {
    const reuse = new ReuseRate(1);
    reuse.left('mine', prompt(50), 0);
    const before = reuse.rate;
    reuse.asked('yours', prompt(80));
    expect(reuse.rate).toBe(before);
    reuse.asked('mine', prompt(80));
    expect(reuse.rate).toBeGreaterThan(before);
  });
});
