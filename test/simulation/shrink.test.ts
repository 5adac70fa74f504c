import { afterAll, describe, expect, it } from 'vitest';
import { drawScenario } from '../../src/simulation/draw-scenario.js';
import { keeping, replayCommand, shrink } from '../../src/simulation/shrink.js';
import { runSimCommand } from '../../src/simulation/sim-command.js';
import { type CreateScheduler, type SimulationReport, simulate } from '../../src/simulation/simulation.js';
import { MutantWorkshop } from './load-mutant.js';
import { mutants } from './mutants.js';
import { fixedSeeds, ticksPerSeed } from './seeds.js';

const workshop = new MutantWorkshop();
afterAll(() => workshop.close());

function firstFailure(createScheduler: CreateScheduler): SimulationReport {
  for (const seed of fixedSeeds) {
    const report = simulate(drawScenario(seed), { ticks: ticksPerSeed, createScheduler });
    if (report.violation && report.requests.length > 5) return report;
  }
  throw new Error('the mutant was not noticed');
}

describe('shrink', () => {
  it('finds a smaller run that fails alike, and the line that replays it', async () => {
    const index = mutants.findIndex(({ name }) => name.startsWith('missing release'));
    const createScheduler = await workshop.load(mutants[index]!, index);
    const ticks = ticksPerSeed;
    const failed = firstFailure(createScheduler);
    const { scenario } = failed;
    const shrunk = shrink(scenario, failed, { ticks, createScheduler });
    expect(shrunk.requests.length).toBeLessThan(failed.requests.length);
    const replayed = simulate(scenario, {
      ticks: shrunk.ticks,
      createScheduler,
      ...keeping(shrunk.requests, shrunk.faults),
    });
    expect(replayed.violation?.invariant).toBe(failed.violation!.invariant);
    expect(replayed.hash).toBe(shrunk.report.hash);
    expect(shrunk.report.log.at(-1)).toContain('VIOLATION slots-conserved');
    const command = replayCommand(scenario.seed, ticks, shrunk);
    expect(command).toMatch(/^npm run sim -- --seed \d+ --ticks \d+ --requests \S+ --faults \S+$/);
  });
});

describe('npm run sim', () => {
  const run = async (...argv: string[]) => {
    let output = '';
    const code = await runSimCommand(argv, (text) => {
      output += text;
    });
    return { code, output };
  };

  it('prints workload, faults and hash', async () => {
    const { code, output } = await run('--seed', '7', '--ticks', '50');
    expect(code).toBe(0);
    expect(output).toMatch(/^seed 7: \d+ slots of \d+ tokens, batch \d+; .*; line \d+ requests /);
    expect(output).toMatch(/hash [0-9a-f]{16}\n$/);
    expect((await run('--seed', '7', '--ticks', '50')).output.slice(-17)).toBe(output.slice(-17));
  });

  it('replays a part of a run, with its log', async () => {
    const { code, output } = await run(
      '--seed',
      '7',
      '--ticks',
      '20',
      '--requests',
      '1',
      '--faults',
      'none',
      '--log',
    );
    expect(code).toBe(0);
    expect(output).toMatch(/ ms {2}(submit|refused) 1 /);
    expect(output).toContain(': 1 requests, ');
  });

  it.each([[['--seed', 'x']], [['--what']], [['--ticks', '-1']]])('refuses %j', async (argv) => {
    const { code, output } = await run(...argv);
    expect(code).toBe(2);
    expect(output).toContain('--seed N');
  });
});
