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

  it('is high until something is known, and low after a few dozen requests of which none comes back', () => {
    const reuse = new ReuseRate(32);
    const rates = Array.from({ length: 64 }, (_, number) => {
      const { rate } = reuse;
      reuse.left('', prompt(100, 1000 * (number + 1)), 0);
      return rate;
    });
    expect(rates[0]).toBeGreaterThan(0.5);
    expect(rates[16]).toBeGreaterThan(0.2);
    expect(reuse.rate).toBeLessThan(0.05);
  });

  it('is the share that comes back, however much later', () => {
    for (const distance of [1, 20, 300]) {
      const reuse = new ReuseRate(32);
      for (let number = 0; number < 2000; number += 1) {
        reuse.left('', prompt(100, 1000 * (number + 1)), 0);
        const returning = number - distance;
        if (returning >= 0 && returning % 4 === 0) reuse.asked('', prompt(150, 1000 * (returning + 1)));
      }
      expect(reuse.rate).toBeGreaterThan(0.2);
      expect(reuse.rate).toBeLessThan(0.3);
    }
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
