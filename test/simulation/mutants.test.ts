import { afterAll, describe, expect, it } from 'vitest';
import { drawScenario } from '../../src/simulation/draw-scenario.js';
import { invariantNames } from '../../src/simulation/invariants/index.js';
import { simulate } from '../../src/simulation/simulation.js';
import { MutantWorkshop } from './load-mutant.js';
import { mutants } from './mutants.js';
import { fixedSeeds, ticksPerSeed } from './seeds.js';

const workshop = new MutantWorkshop();
afterAll(() => workshop.close());

describe('the seeds of CI notice', () => {
  it.each(mutants.map((mutant, index) => [mutant.name, mutant, index] as const))(
    '%s',
    { timeout: 60_000 },
    async (_, mutant, index) => {
      const createScheduler = await workshop.load(mutant, index);
      const noticed = new Set<string>();
      for (const seed of fixedSeeds) {
        const { violation } = simulate(drawScenario(seed), { ticks: ticksPerSeed, createScheduler });
        if (violation) noticed.add(violation.invariant);
        if (noticed.has(mutant.caughtBy)) return;
      }
      expect([...noticed], 'invariants that noticed it').toContain(mutant.caughtBy);
    },
  );

  it('a mistake of every kind: each invariant is able to fail', () => {
    const able = new Set(mutants.map(({ caughtBy }) => caughtBy));
    expect(invariantNames.filter((name) => !able.has(name))).toEqual([]);
  });

  it('nothing in an unchanged copy', async () => {
    const unchanged = { name: 'unchanged', file: 'index.ts', from: "'./events.js'", to: "'./events.js'" };
    const createScheduler = await workshop.load({ ...unchanged, caughtBy: 'crash' }, mutants.length);
    const report = simulate(drawScenario(1), { ticks: ticksPerSeed, createScheduler });
    expect(report.violation).toBeNull();
  });
});
