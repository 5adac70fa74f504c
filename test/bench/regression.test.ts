import { describe, expect, it } from 'vitest';
import type { Ratio } from '../../bench/load/statistics.js';
import { judge } from '../../bench/regression.js';

const ratio = (center: number, spread: number): Ratio => ({
  ratio: center,
  lower: center / spread,
  upper: center * spread,
  count: 3,
});

describe('judge', () => {
  it('calls a drop beyond both intervals worse, and a rise better', () => {
    expect(judge({ before: ratio(1.4, 1.05), now: ratio(1.1, 1.05) })).toBe('worse');
    expect(judge({ before: ratio(1.1, 1.05), now: ratio(1.4, 1.05) })).toBe('better');
  });

  it('does not call the same drop worse when the intervals cover it', () => {
    expect(judge({ before: ratio(1.4, 1.3), now: ratio(1.1, 1.05) })).toBe('same');
    expect(judge({ before: ratio(1.4, 1.05), now: ratio(1.1, 1.3) })).toBe('same');
  });

  it('ignores certain but tiny changes', () => {
    expect(judge({ before: ratio(1.4, 1.001), now: ratio(1.35, 1.001) })).toBe('same');
  });

  it('assumes a tenth of noise where a single seed gives no interval', () => {
    const lone: Ratio = { ratio: 1.4, lower: 0, upper: Number.POSITIVE_INFINITY, count: 1 };
    expect(judge({ before: lone, now: ratio(1.3, 1.01) })).toBe('same');
    expect(judge({ before: lone, now: ratio(1.2, 1.01) })).toBe('worse');
  });

  it('has nothing to say about a ratio that is only there once', () => {
    expect(judge({ before: { ...ratio(1, 1), count: 0 }, now: ratio(1, 1.1) })).toBe('new');
  });
});
