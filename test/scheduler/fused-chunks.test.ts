import { describe, expect, it } from 'vitest';
import { decoded, makeScheduler, planOf, prompt, spec } from './support.js';

/** The plan of the tick after `decoding` sequences have started and these prompts have come, in slots after them. */
function planWith(decoding: number, prompts: readonly number[], batchTokens = 128) {
  const size = { slotCount: 8, contextTokens: 1_024, batchTokens, maxWaitingTokens: 10_000 };
  const scheduler = makeScheduler(size);
  for (let id = 1; id <= decoding; id += 1) {
    scheduler.submit([spec(id, { prompt: prompt(3, 10 * id), maxTokens: 100 })], 0);
  }
  if (decoding > 0) scheduler.applyTick(decoded(planOf(scheduler)));
  prompts.forEach((length, index) => {
    scheduler.submit([spec(100 + index, { prompt: prompt(length, 1_000 * (index + 1)) })], 0);
  });
  const { rows, work } = planOf(scheduler, 1);
  return { shares: rows.slice(decoding).map((row) => row.tokens.length), passes: work.passes };
}

describe('equal chunks of neighbouring prompts', () => {
  it('a prompt that is cut short joins the passes of its neighbour', () => {
    // 40 + 88 tokens would take two passes; the 88 - 40 left out fit into the second prompt's last chunk.
    expect(planWith(0, [40, 150])).toEqual({ shares: [40, 40], passes: 1 });
    expect(planWith(2, [40, 150])).toEqual({ shares: [40, 40], passes: 2 });
  });

  it('not when it would need one chunk more for it', () => {
    expect(planWith(0, [40, 180])).toEqual({ shares: [40, 88], passes: 2 });
  });

  it('not when a neighbour is too short to make a useful chunk', () => {
    expect(planWith(0, [20, 150])).toEqual({ shares: [20, 108], passes: 2 });
  });

  it('never at the expense of a prompt that this tick finishes', () => {
    expect(planWith(0, [60, 50])).toEqual({ shares: [60, 50], passes: 2 });
    expect(planWith(1, [60, 60])).toEqual({ shares: [60, 60], passes: 2 });
  });

  it('takes the longest chunk among those that save the most', () => {
    expect(planWith(0, [36, 40, 140])).toEqual({ shares: [36, 40, 40], passes: 2 });
    expect(planWith(0, [40, 36, 140])).toEqual({ shares: [40, 36, 36], passes: 2 });
  });
});
