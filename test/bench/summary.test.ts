import { describe, expect, it } from 'vitest';
import type { RequestRecord } from '../../bench/load/records.js';
import { isGood, summarize, tokensInWindow } from '../../bench/load/summary.js';
import { kneeOf, nextRate, secondsAt } from '../../bench/scenarios/rate-sweep.js';

const targets = { ttftMs: 500, itlMs: 100 };

function record(overrides: Partial<RequestRecord> = {}): RequestRecord {
  const chunkAtMs = overrides.chunkAtMs ?? [1200, 1250, 1300];
  return {
    tag: '',
    outcome: 'ok',
    scheduledAtMs: 1000,
    sentAtMs: 1001,
    finishedAtMs: chunkAtMs.at(-1) ?? 1000,
    chunkAtMs,
    requestedPromptTokens: 10,
    requestedOutputTokens: 3,
    promptTokens: 10,
    outputTokens: chunkAtMs.length,
    text: '',
    ...overrides,
  };
}

function run(records: RequestRecord[]) {
  return summarize({ loop: 'open', records, window: { startMs: 1000, endMs: 2000 }, sendLagMs: [] }, targets);
}

describe('isGood', () => {
  it('needs the first token and every gap in time', () => {
    expect(isGood(record(), targets)).toBe(true);
    expect(isGood(record({ chunkAtMs: [1501, 1550] }), targets)).toBe(false);
    expect(isGood(record({ chunkAtMs: [1200, 1250, 1351] }), targets)).toBe(false);
  });

  it('never counts what was rejected, failed or unfinished', () => {
    for (const outcome of ['rejected', 'failed', 'unfinished', 'aborted'] as const) {
      expect(isGood(record({ outcome }), targets)).toBe(false);
    }
  });

  it('measures the first token from the scheduled arrival, not from the late send', () => {
    expect(isGood(record({ sentAtMs: 1400, chunkAtMs: [1600, 1650] }), targets)).toBe(false);
  });
});

describe('summarize', () => {
  it('counts rejected requests against the good fraction', () => {
    const rejected = record({ outcome: 'rejected', chunkAtMs: [] });
    const metrics = run([record(), rejected, rejected, record({ outcome: 'aborted' })]);
    expect(metrics.goodFraction).toBeCloseTo(1 / 3);
    expect(metrics.goodputRequestsPerSecond).toBe(1);
    expect(metrics.rejectedRequests).toBe(2);
  });

  it('leaves requests of the warm-up out of the latencies but not out of the tokens', () => {
    const early = record({ scheduledAtMs: 0, chunkAtMs: [900, 1100, 1900, 2100] });
    const metrics = run([early, record()]);
    expect(metrics.requests).toBe(1);
    expect(metrics.ttftP99Ms).toBe(200);
    expect(metrics.generatedTokensPerSecond).toBe(5);
    // Gaps of running streams count when they end inside the window: 200, 800 and twice 50.
    expect(metrics.itlMaxMs).toBe(800);
    expect(metrics.itlP50Ms).toBe(50);
  });

  it('takes latencies of a closed loop from requests whose first token fell into the window', () => {
    const waited = record({
      scheduledAtMs: -4000,
      chunkAtMs: [1500, 2500],
      cachedTokens: 4,
      reusableTokens: 8,
    });
    const later = record({ chunkAtMs: [2100, 2200], cachedTokens: 10 });
    const metrics = summarize(
      { loop: 'closed', records: [waited, later], window: { startMs: 1000, endMs: 2000 }, sendLagMs: [] },
      targets,
    );
    expect(metrics.ttftP50Ms).toBe(5500);
    expect(metrics.cachedTokenFraction).toBeCloseTo(0.4);
    expect(run([waited, later]).ttftP50Ms).toBe(1100);
  });

  it('compares the cache with a perfect one', () => {
    const metrics = run([
      record({ promptTokens: 100, cachedTokens: 60, reusableTokens: 80 }),
      record({ promptTokens: 100, cachedTokens: 20, reusableTokens: 20 }),
      record({ promptTokens: 100, cachedTokens: 90 }),
    ]);
    expect(metrics.cachedOfIdeal).toBeCloseTo(80 / 100);
    expect(metrics.computedOfIdeal).toBeCloseTo(120 / 100);
  });

  it('computes TPOT as (E2E - TTFT) / (tokens - 1)', () => {
    expect(run([record({ chunkAtMs: [1200, 1240, 1320], outputTokens: 3 })]).tpotP50Ms).toBe(60);
  });

  it('reports the cached share only when the server counts it', () => {
    expect(run([record()])).not.toHaveProperty('cachedTokenFraction');
    expect(run([record({ cachedTokens: 8 }), record({ cachedTokens: 0 })]).cachedTokenFraction).toBeCloseTo(
      0.4,
    );
  });

  it('notices replies that are shorter than asked', () => {
    expect(run([record({ requestedOutputTokens: 4 }), record()]).shortOutputs).toBe(1);
  });
});

describe('tokensInWindow', () => {
  const window = { startMs: 1000, endMs: 2000 };

  it('weighs chunks by usage, and cut streams like the others', () => {
    const merged = record({ chunkAtMs: [1100, 1200], outputTokens: 6 });
    const cut = record({ outcome: 'unfinished', chunkAtMs: [1500] });
    cut.outputTokens = undefined as unknown as number;
    expect(tokensInWindow([merged, cut], window)).toBe(9);
  });
});

describe('the knee', () => {
  const steps = (fractions: number[]) =>
    fractions.map((goodFraction, index) => ({ ratePerSecond: index + 1, goodFraction }));

  it('is the last rate before the first failure', () => {
    expect(kneeOf(steps([1, 0.95, 0.4, 0.99]))?.ratePerSecond).toBe(2);
    expect(kneeOf(steps([0.2]))).toBeUndefined();
  });

  it('measures low rates longer, within bounds', () => {
    expect(secondsAt(10, 12)).toBe(12);
    expect(secondsAt(1, 12)).toBe(20);
    expect(secondsAt(0.1, 12)).toBe(24);
  });

  it('is looked for between the last good and the first bad rate', () => {
    expect(nextRate(steps([1, 0.95, 0.4]))).toBe(2.5);
    expect(nextRate(steps([0.2, 0.1]))).toBe(0.5);
    expect(nextRate(steps([1, 1]))).toBeUndefined();
  });
});
