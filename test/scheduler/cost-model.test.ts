import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type CostCoefficients, CostModel, median } from '../../scheduler/cost-model.js';
import { TickCosts } from '../../scheduler/tick-costs.js';
import type { TickWork } from '../../scheduler/tick-work.js';

const truth: CostCoefficients = {
  perPassMs: 5,
  perTokenMs: 0.7,
  perSampledRowMs: 0.9,
  perAttendedTokenMs: 0.0004,
  perLeftoverTokenMs: 0,
};

function costOf(work: TickWork, cost = truth): number {
  return (
    cost.perPassMs * work.passes +
    cost.perTokenMs * work.tokens +
    cost.perSampledRowMs * work.sampledRows +
    cost.perAttendedTokenMs * work.attendedTokens +
    cost.perLeftoverTokenMs * work.leftoverTokens
  );
}

const decode = (rows: number, position = 200): TickWork => ({
  passes: 1,
  tokens: rows,
  sampledRows: rows,
  attendedTokens: rows * position,
  leftoverTokens: 0,
});
const prefill = (tokens: number): TickWork => ({
  passes: 1,
  tokens,
  sampledRows: 1,
  attendedTokens: (tokens * tokens) / 2,
  leftoverTokens: 0,
});
const shapes = [decode(1), decode(8), decode(32), prefill(64), prefill(256), prefill(512)];

const typicalMs = (model: CostModel, work: TickWork) => median(model.recentMs(work))!;

describe('CostModel', () => {
  it('keeps what leftover tokens cost in tokens, once that is known, however noisy the calls', () => {
    const model = new CostModel();
    model.fixLeftovers(3);
    const left = { ...decode(31), leftoverTokens: 3 };
    for (let round = 0; round < 40; round += 1) {
      for (const work of shapes) model.observe(work, costOf(work));
      model.observe(left, 0.9 * costOf(left));
    }
    const { perLeftoverTokenMs, perTokenMs } = model.coefficients;
    expect(perLeftoverTokenMs).toBeCloseTo(3 * perTokenMs);
    expect(perTokenMs).toBeGreaterThan(0.5 * truth.perTokenMs);
  });

  it('learns a true line from a handful of calls', () => {
    const model = new CostModel();
    for (let round = 0; round < 5; round += 1) for (const work of shapes) model.observe(work, costOf(work));
    for (const work of [decode(20), prefill(128), { ...decode(9), passes: 3 }]) {
      expect(model.predictMs(work) / costOf(work)).toBeCloseTo(1, 0.5);
    }
    expect(model.relativeError).toBeLessThan(0.2);
  });

  it('does not forget prefill during a long stretch of decoding', () => {
    const model = new CostModel();
    for (const work of shapes) model.observe(work, costOf(work));
    for (let tick = 0; tick < 5_000; tick += 1)
      model.observe(decode(32, 100 + (tick % 400)), costOf(decode(32)));
    expect(model.predictMs(prefill(256)) / costOf(prefill(256))).toBeCloseTo(1, 0.5);
  });

  it('follows a machine that becomes three times slower', () => {
    const model = new CostModel();
    for (const work of shapes) model.observe(work, costOf(work));
    for (let tick = 0; tick < 60; tick += 1) for (const work of shapes) model.observe(work, 3 * costOf(work));
    expect(model.predictMs(decode(8)) / costOf(decode(8))).toBeGreaterThan(2.5);
  });

  it('is not moved far by one call that hangs', () => {
    const model = new CostModel();
    for (let round = 0; round < 20; round += 1) for (const work of shapes) model.observe(work, costOf(work));
    model.observe(decode(8), 60_000);
    expect(typicalMs(model, decode(8)) / costOf(decode(8))).toBeLessThan(1.5);
  });

  it('keeps what it knows of other shapes through noise of one shape', () => {
    const model = new CostModel();
    for (let round = 0; round < 5; round += 1) for (const work of shapes) model.observe(work, costOf(work));
    const noise = [0.55, 1.8, 0.6, 1, 2.5, 0.5, 1.2, 0.9];
    for (let tick = 0; tick < 2_000; tick += 1)
      model.observe(decode(1), costOf(decode(1)) * noise[tick % 8]!);
    expect(typicalMs(model, decode(32))).toBeCloseTo(costOf(decode(32)), 5);
    expect(model.predictMs(prefill(256)) / costOf(prefill(256))).toBeGreaterThan(0.7);
  });

  it('stays finite and positive whatever it is fed', () => {
    const call = fc.tuple(
      fc.record({
        passes: fc.integer({ min: 1, max: 256 }),
        tokens: fc.integer({ min: 1, max: 4096 }),
        sampledRows: fc.integer({ min: 0, max: 256 }),
        attendedTokens: fc.integer({ min: 1, max: 1e8 }),
        leftoverTokens: fc.integer({ min: 0, max: 1e3 }),
      }),
      fc.oneof(fc.double(), fc.constantFrom(0, -1, Number.NaN, Number.POSITIVE_INFINITY, 1e-9, 1e9)),
    );
    fc.assert(
      fc.property(fc.array(call, { maxLength: 60 }), (calls) => {
        const model = new CostModel();
        for (const [work, ms] of calls) model.observe(work, ms);
        const { perPassMs, perTokenMs, perSampledRowMs, perAttendedTokenMs } = model.coefficients;
        for (const value of [perPassMs, perTokenMs]) expect(value > 0 && value <= 5_000).toBe(true);
        for (const value of [perSampledRowMs, perAttendedTokenMs])
          expect(value >= 0 && value <= 500).toBe(true);
        expect(Number.isFinite(model.predictMs(decode(8)))).toBe(true);
      }),
    );
  });
});

/** What each choice really costs, as on a machine whose second thread pays 12 ms of barriers. */
const oneThread = (work: TickWork) => costOf(work);
const twoThreads = (work: TickWork) => 12 + costOf(work) / 2;

function drive(
  costs: TickCosts,
  work: TickWork,
  ticks: number,
  two = twoThreads,
): { spentMs: number; threads: number[] } {
  let spentMs = 0;
  const threads = Array.from({ length: ticks }, () => {
    const chosen = costs.chooseThreads(work);
    const ms = chosen === 1 ? oneThread(work) : two(work);
    costs.observe(work, chosen, ms);
    spentMs += ms;
    return chosen;
  });
  return { spentMs, threads };
}

function calibrated(two = twoThreads): TickCosts {
  const costs = new TickCosts([1, 2]);
  for (const work of shapes) {
    costs.learn(work, 1, oneThread(work));
    costs.learn(work, 2, two(work));
  }
  return costs;
}

describe('TickCosts', () => {
  it('takes one thread for little work and both for much', () => {
    const costs = calibrated();
    expect(costs.chooseThreads(decode(1))).toBe(1);
    expect(costs.chooseThreads(decode(32))).toBe(2);
    expect(costs.chooseThreads(prefill(256))).toBe(2);
  });

  it.each([1, 4, 8, 16, 32])('costs at most 3%% more than the better fixed choice at %i rows', (rows) => {
    const work = decode(rows);
    const { spentMs } = drive(calibrated(), work, 2_000);
    expect(spentMs / (2_000 * Math.min(oneThread(work), twoThreads(work)))).toBeLessThan(1.03);
  });

  it('finds the better choice of a shape that it never timed, however busy the others keep both', () => {
    const costs = calibrated();
    const work = decode(1, 2_000);
    const full = decode(32);
    expect(costs.chooseThreads(work)).toBe(1);
    const really = { 1: 9, 2: 8 };
    let spentMs = 0;
    for (let round = 0; round < 1_000; round += 1) {
      const chosen = costs.chooseThreads(work) as 1 | 2;
      costs.observe(work, chosen, really[chosen]);
      spentMs += really[chosen];
      drive(costs, full, 4);
    }
    expect(spentMs / (1_000 * really[2])).toBeLessThan(1.03);
  });

  it('does not wait for ticks to pay for what a calibration tried', () => {
    const costs = calibrated((work) => 2 * twoThreads(work));
    const work = decode(8);
    const really = (): number => 0.5 * oneThread(work);
    const { threads } = drive(costs, work, 200, really);
    expect(threads.slice(-50).filter((each) => each === 2).length).toBeGreaterThan(40);
  });

  it('spends little on trials although every call has another shape', () => {
    const costs = calibrated((work) => 0.8 * oneThread(work));
    let spentMs = 0;
    let leastMs = 0;
    for (let round = 0; round < 5; round += 1) {
      for (const rows of [3, 6, 12, 24, 32]) {
        for (const chunk of [40, 70, 130, 260]) {
          const work = { ...decode(rows), passes: 2, tokens: rows + chunk };
          const threads = costs.chooseThreads(work);
          const measuredMs = threads === 2 ? 0.8 * oneThread(work) : oneThread(work);
          costs.observe(work, threads, measuredMs);
          spentMs += measuredMs;
          leastMs += 0.8 * oneThread(work);
        }
      }
    }
    expect(spentMs / leastMs).toBeLessThan(1.03);
  });

  it('recovers from a start on a busy machine in all shapes', () => {
    const costs = calibrated((work) => 10 * twoThreads(work));
    for (let round = 0; round < 600; round += 1) for (const work of shapes) drive(costs, work, 1);
    for (const work of shapes) {
      const { spentMs } = drive(costs, work, 100);
      const bestMs = Math.min(oneThread(work), twoThreads(work));
      expect(spentMs / (100 * bestMs), JSON.stringify(work)).toBeLessThan(1.03);
    }
  });

  it('leaves a choice that turned bad and returns when it is good again', () => {
    const costs = calibrated();
    const work = decode(32);
    const busy = drive(costs, work, 400, () => 1_500);
    expect(busy.threads.slice(20).filter((threads) => threads === 2).length).toBeLessThan(4);
    const quiet = drive(costs, work, 2_500);
    expect(quiet.threads.slice(-500).filter((threads) => threads === 2).length).toBeGreaterThan(400);
  });
});

/** Numbers from 0 to 1 that look random and are the same in every run. */
function drawn(): () => number {
  let state = 7;
  return () => {
    state = (state * 48_271) % 2_147_483_647;
    return state / 2_147_483_647;
  };
}

/** Calls of one shape that really cost `speeds` (by threads) times `costOf`, some of them disturbed. */
function driveAtSpeeds(
  costs: TickCosts,
  calls: number,
  speeds: { 1: number; 2: number },
  disturbed: () => number = () => 1,
): { lossShare: number; threads: number[] } {
  const work = decode(32);
  let spent = 0;
  const threads = Array.from({ length: calls }, () => {
    const chosen = costs.chooseThreads(work) as 1 | 2;
    costs.observe(work, chosen, speeds[chosen] * costOf(work) * disturbed());
    spent += speeds[chosen];
    return chosen;
  });
  return { lossShare: spent / (calls * Math.min(speeds[1], speeds[2])) - 1, threads };
}

const usesOf = (threads: readonly number[], choice: number) =>
  threads.filter((each) => each === choice).length;

describe('Trials of the slower choice', () => {
  const clear = { 1: 1.7, 2: 1 };

  it.each([
    { share: 0, speeds: clear, mostLossShare: 0.01 },
    { share: 0.05, speeds: clear, mostLossShare: 0.01 },
    { share: 0.3, speeds: clear, mostLossShare: 0.02 },
    { share: 0.3, speeds: { 1: 1.1, 2: 1 }, mostLossShare: 0.02 },
    { share: 0.3, speeds: { 1: 1.03, 2: 1 }, mostLossShare: 0.02 },
  ])(
    'lose little when a share of $share of all calls is 1.3 to 4 times slower, speeds $speeds',
    ({ share, speeds, mostLossShare }) => {
      const draw = drawn();
      const disturbed = () => (draw() < share ? 1.3 * (4 / 1.3) ** draw() : 1);
      expect(driveAtSpeeds(new TickCosts([1, 2]), 3_000, speeds, disturbed).lossShare).toBeLessThan(
        mostLossShare,
      );
    },
  );

  it('are rare after a while, whether the difference is clear or small', () => {
    for (const speeds of [clear, { 1: 1.05, 2: 1 }]) {
      const costs = new TickCosts([1, 2]);
      driveAtSpeeds(costs, 500, speeds);
      const late = driveAtSpeeds(costs, 3_000, speeds);
      expect(usesOf(late.threads, 1)).toBeGreaterThan(0);
      expect(late.lossShare).toBeLessThan(0.006);
    }
  });

  it('come early only in calls that do not take longer than others', () => {
    const costs = calibrated();
    const tried = { 32: 0, 256: 0 };
    for (let round = 0; round < 30; round += 1) {
      tried[32] += usesOf(drive(costs, decode(32), 1).threads, 1);
      tried[256] += usesOf(drive(costs, prefill(256), 1).threads, 1);
    }
    expect(tried).toMatchObject({ 256: 0 });
    expect(tried[32]).toBeGreaterThan(0);
  });

  it('are not set off by one call that was disturbed', () => {
    const costs = new TickCosts([1, 2]);
    driveAtSpeeds(costs, 2_000, clear);
    costs.observe(decode(32), 2, 4 * costOf(decode(32)));
    expect(usesOf(driveAtSpeeds(costs, 20, clear).threads, 1)).toBeLessThan(2);
  });

  it('come back within a few calls when the chosen number becomes slower', () => {
    const costs = new TickCosts([1, 2]);
    driveAtSpeeds(costs, 2_000, clear);
    const others = { 1: 1.2, 2: 1.6 };
    expect(usesOf(driveAtSpeeds(costs, 20, others).threads, 1)).toBeGreaterThan(5);
    expect(usesOf(driveAtSpeeds(costs, 20, others).threads, 1)).toBeGreaterThan(15);
  });

  it('find in the end what became faster although nothing else changed', () => {
    const costs = new TickCosts([1, 2]);
    driveAtSpeeds(costs, 2_000, clear);
    const { threads } = driveAtSpeeds(costs, 300, { 1: 0.5, 2: 1 });
    expect(usesOf(threads.slice(-100), 1)).toBeGreaterThan(90);
  });

  it('end at once when the chosen number becomes far slower than the other', () => {
    const costs = new TickCosts([1, 2]);
    driveAtSpeeds(costs, 2_000, clear);
    expect(usesOf(driveAtSpeeds(costs, 100, { 1: 1.7, 2: 4 }).threads.slice(10), 2)).toBeLessThan(6);
  });
});
