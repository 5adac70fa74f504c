import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { Random } from '../../bench/load/random.js';
import { type FleetOptions, simulateFleet } from '../../bench/plan/fleet.js';
import { runPlan } from '../../bench/plan/plan-command.js';
import { planMetrics } from '../../bench/plan/plan-metrics.js';
import { runCommandLine } from '../../src/cli/program.js';
import { fakeTerminal } from '../cli/fake-terminal.js';
import { tinyModelPath } from '../support/models.js';

const folder = mkdtempSync(join(tmpdir(), 'chairlift-plan-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const cost = {
  perTickMs: 0,
  perPassMs: 10,
  perTokenMs: 1,
  perSampledRowMs: 0,
  perAttendedTokenMs: 0,
  perShortRowAttendedTokenMs: 0,
  noiseSigma: 0,
};
const fleet: FleetOptions = {
  worker: { slots: 4, contextTokens: 64, batchTokens: 64, itlTargetMs: 0, cost },
  workers: 1,
  load: { kind: 'open', arrivalsMs: [0] },
  draw: () => ({ promptTokens: 20, outputTokens: 3, sharedTokens: 0, family: 1 }),
  random: new Random('test'),
};

describe('a simulated fleet', () => {
  it('takes the time that the cost says', () => {
    const [outcome] = simulateFleet(fleet);
    expect(outcome!.tokenTimesMs).toEqual([30, 41, 52]);
  });

  it('lets requests wait for slots, and shares them among workers', () => {
    const load = { kind: 'open', arrivalsMs: [0, 0, 0, 0, 0, 0, 0, 0] } as const;
    const lastMs = (workers: number) =>
      Math.max(
        ...simulateFleet({ ...fleet, load, workers }).map(({ tokenTimesMs }) => tokenTimesMs!.at(-1)!),
      );
    expect(lastMs(2)).toBeLessThan(lastMs(1) * 0.7);
  });

  it('refuses what does not fit the window', () => {
    const draw = () => ({ promptTokens: 63, outputTokens: 2, sharedTokens: 0, family: 1 });
    expect(simulateFleet({ ...fleet, draw })[0]!.tokenTimesMs).toBeNull();
  });

  it('keeps a closed loop of clients busy until its end', () => {
    const outcomes = simulateFleet({ ...fleet, load: { kind: 'closed', clients: 4, untilMs: 1000 } });
    const metrics = planMetrics(outcomes, { ttftMs: 200, itlMs: 100 }, { startMs: 0, endMs: 1000 });
    expect(metrics.goodFraction).toBe(1);
    expect(metrics.tokensPerSecond).toBeGreaterThan(60);
  });
});

describe('chairlift plan', () => {
  const run = async (...words: string[]) => {
    let output = '';
    const code = await runPlan(words, (text) => {
      output += text;
    });
    return { code, output };
  };
  const quick = ['--seconds', '20', '--slots', '2,8', '--prompt-tokens', 'lognormal:60:0.5'];

  it('names the cheapest workers and slots, and draws goodput against rate', async () => {
    const svg = join(folder, 'plan.svg');
    const costFile = join(folder, 'cost.json');
    writeFileSync(costFile, JSON.stringify({ cost }));
    const { code, output } = await run(...quick, '--rate', '2', '--svg', svg, '--cost-from', costFile);
    expect(code).toBe(0);
    expect(output).toMatch(/2 requests\/s: \d+ workers? of [28] slots; TTFT p99 \S+ ms, ITL p99 \S+ ms/);
    expect(readFileSync(svg, 'utf8')).toContain('Goodput of');
  });

  it('uses what doctor measured', { timeout: 60_000 }, async () => {
    const file = join(folder, 'measured.json');
    const shape = ['--slots', '2', '--context', '64', '--batch', '32', '--threads', '1'];
    const words = ['doctor', '--port', '0', '--model', tinyModelPath, ...shape, '--cost', file];
    expect(await runCommandLine(words, fakeTerminal())).toBe(0);
    const { cost: measured, slots } = JSON.parse(readFileSync(file, 'utf8'));
    expect(slots).toBe(2);
    expect(measured.noise.length).toBeGreaterThan(20);
    const ask = [
      '--workers',
      '1',
      '--slots',
      '2',
      '--context-tokens',
      '64',
      '--prompt-tokens',
      '20',
      '--output-tokens',
      '10',
    ];
    const asMeasured = await run(...ask, '--seconds', '20', '--cost-from', file);
    expect(asMeasured.code).toBe(0);
    const slower = await run(...ask, '--seconds', '20', '--cost-from', file, '--per-pass-ms', '3000');
    expect(slower.code).toBe(1);
  });

  it('says the same twice, and needs more for more traffic', async () => {
    const words = [...quick, '--rate', '1,10', '--ttft-target-ms', '1000'];
    const first = await run(...words);
    expect(await run(...words)).toEqual(first);
    const workers = [...first.output.matchAll(/requests\/s: (\d+) worker/g)].map(([, count]) =>
      Number(count),
    );
    expect(workers[1]).toBeGreaterThan(workers[0]!);
  });

  it('ends with 1 when nothing suffices, with 2 when it was asked wrongly', async () => {
    const hopeless = await run(...quick, '--ttft-target-ms', '1', '--workers', '2');
    expect(hopeless).toMatchObject({ code: 1, output: expect.stringContaining('not with 2 workers') });
    const wrong = await run('--rate', 'x', '--prompt-tokens', 'many', '--cost-from', '/nowhere');
    expect(wrong.code).toBe(2);
    for (const flag of ['--rate', '--prompt-tokens', '--cost-from']) expect(wrong.output).toContain(flag);
    expect(await run('--help')).toMatchObject({ code: 0 });
  });
});
