import { randomInt } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { evictionReasons, reuseKinds } from '../../scheduler/index.js';
import { drawScenario } from '../../src/simulation/draw-scenario.js';
import { faultKinds } from '../../src/simulation/scenario.js';
import { explainFailure } from '../../src/simulation/sim-command.js';
import { type SimulationReport, simulate } from '../../src/simulation/simulation.js';
import { fixedSeeds, randomSeedCount, ticksPerSeed } from './seeds.js';

const ticks = ticksPerSeed;
const reports: SimulationReport[] = [];
const seedsPerTest = 50;

function expectToHold(seed: number): void {
  const report = simulate(drawScenario(seed), { ticks });
  reports.push(report);
  if (report.violation) throw new Error(explainFailure(report, { seed, ticks }));
}

describe('every invariant holds', () => {
  for (let start = 0; start < fixedSeeds.length; start += seedsPerTest) {
    const seeds = fixedSeeds.slice(start, start + seedsPerTest);
    it(`for seeds ${seeds[0]} to ${seeds.at(-1)}`, { timeout: 60_000 }, () => {
      for (const seed of seeds) expectToHold(seed);
    });
  }

  const random = Array.from({ length: randomSeedCount }, () => randomInt(1_000_000_000));
  it('for random seeds, printed when they fail', { timeout: 60_000 }, () => {
    for (const seed of random) expectToHold(seed);
  });

  it('in runs that meet every fault, every state of leaving, reuse and refusal', () => {
    const total = (count: (report: SimulationReport) => number) =>
      reports.reduce((sum, report) => sum + count(report), 0);
    for (const kind of faultKinds) {
      const happened = total(({ faults }) => faults.filter((name) => name.endsWith(`:${kind}`)).length);
      expect(happened, kind).toBeGreaterThan(100);
    }
    for (const state of ['waiting', 'prefilling', 'decoding', 'in-flight', 'preempted'] as const) {
      expect(
        total(({ leavings }) => leavings[state]),
        state,
      ).toBeGreaterThan(state === 'preempted' ? 50 : 500);
    }
    for (const kind of ['truncate', 'copy', 'save', 'restore', 'forget'] as const) {
      expect(
        total(({ operations }) => operations[kind]),
        kind,
      ).toBeGreaterThan(100);
    }
    for (const kind of [...reuseKinds, 'cold'] as const) {
      expect(
        total(({ cache }) => cache.starts[kind]),
        kind,
      ).toBeGreaterThan(100);
    }
    for (const reason of evictionReasons) {
      expect(
        total(({ cache }) => cache.evictions[reason]),
        reason,
      ).toBeGreaterThan(100);
    }
    expect(
      total(({ cache }) => cache.waitsInVain),
      'donors that went away',
    ).toBeGreaterThan(20);
    expect(total(({ preemptions }) => preemptions.saved)).toBeGreaterThan(100);
    expect(total(({ preemptions }) => preemptions.left)).toBeGreaterThan(500);
    expect(total(({ reusedTokens }) => reusedTokens)).toBeGreaterThan(10_000);
    expect(total(({ requests }) => requests.length)).toBeGreaterThan(total(({ admitted }) => admitted) / 2);
  });
});

describe('a run', () => {
  it('has the same hash for the same seed, with or without a log', () => {
    for (const seed of [1, 2, 3, 4, 5]) {
      const first = simulate(drawScenario(seed), { ticks });
      const second = simulate(drawScenario(seed), { ticks, keepsLog: true });
      expect(second.hash).toBe(first.hash);
      expect(second.log.length).toBeGreaterThan(ticks);
    }
  });

  it('has another hash for another seed', () => {
    const hashes = fixedSeeds.slice(0, 20).map((seed) => simulate(drawScenario(seed), { ticks: 40 }).hash);
    expect(new Set(hashes).size).toBe(hashes.length);
  });

  it('keeps what is left as it was when requests are left out', () => {
    const promptsOf = (report: SimulationReport) =>
      report.log.filter((line) => line.includes('submit')).map((line) => line.slice(line.indexOf('submit')));
    const all = simulate(drawScenario(8), { ticks: 60, keepsLog: true });
    const alone = simulate(drawScenario(8), {
      ticks: 60,
      keepsLog: true,
      keepRequest: (label) => label === '1',
    });
    expect(promptsOf(alone)[0]).toBe(promptsOf(all)[0]);
  });
});
