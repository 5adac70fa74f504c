/**
 * Does `chairlift plan` tell the truth? Fits the cost of a tick on the live server, then runs three workloads live and
 * simulated, and writes both down: throughput and ITL p50 and p99 should agree within 20%. Wants a quiet machine.
 *
 *   tsx bench/plan-validation.ts --model model.gguf [--slots 8] [--seconds 30] [--out bench/results/plan-validation]
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname } from 'node:path';
import { parseArgs } from 'node:util';
import { loadLlamaRuntime } from '../src/engine/llama/load-llama-runtime.js';
import { isMain } from './is-main.js';
import { arrivalScheduleMs } from './load/arrivals.js';
import { drawLength, type LengthDistribution } from './load/lengths.js';
import { Random } from './load/random.js';
import { fitCost } from './plan/fit-cost.js';
import { type FleetOptions, type Load, type PlanCost, simulateFleet } from './plan/fleet.js';
import { openCore, recordTicks, runLive } from './plan/live-run.js';
import { type PlanMetrics, planMetrics } from './plan/plan-metrics.js';
import { machineInfo } from './report/machine.js';

interface Workload {
  name: string;
  load: Load;
  prompt: LengthDistribution;
  output: LengthDistribution;
}

interface Comparison {
  workload: string;
  live: PlanMetrics;
  simulated: PlanMetrics;
}

const compared = ['tokensPerSecond', 'itlP50Ms', 'itlP99Ms', 'ttftP50Ms', 'ttftP99Ms'] as const;
/** The last two are shown, but issue 4 asks for the first three. */
const judgedCount = 3;
const tolerance = 0.2;
const warmUpShare = 0.15;
const targets = { ttftMs: 2000, itlMs: 250 };
const contextTokens = 1024;
const batchTokens = 512;

function lognormal(median: number, sigma: number, highestTokens: number): LengthDistribution {
  return { kind: 'lognormal', mu: Math.log(median), sigma, scale: 1, lowestTokens: 4, highestTokens };
}

function spread(meanTokens: number): LengthDistribution {
  return { kind: 'spread', meanTokens, spreadFraction: 0.25 };
}

function workloads(slots: number, seconds: number, ratePerSecond: number): Workload[] {
  const random = new Random('plan-validation');
  const closed = (clients: number): Load => ({ kind: 'closed', clients, untilMs: seconds * 1000 });
  const arrivalsMs = arrivalScheduleMs({ ratePerSecond, durationSeconds: seconds }, random);
  return [
    { name: 'every slot busy, 64 in, 48 out', load: closed(slots), prompt: spread(64), output: spread(48) },
    {
      name: `Poisson, ${ratePerSecond.toFixed(2)} requests/s, lognormal lengths`,
      load: { kind: 'open', arrivalsMs },
      prompt: lognormal(100, 0.8, 600),
      output: lognormal(50, 0.6, 200),
    },
    {
      name: 'long prompts, 400 in, 64 out',
      load: closed(Math.ceil(slots / 2)),
      prompt: spread(400),
      output: spread(64),
    },
  ];
}

function fleetOptions({ name, load, prompt, output }: Workload, slots: number, cost: PlanCost): FleetOptions {
  const random = new Random(name);
  return {
    worker: { slots, contextTokens, batchTokens, itlTargetMs: 0, cost },
    workers: 1,
    load,
    random: random.fork('noise'),
    draw: (index) => {
      const own = random.fork(index);
      const promptTokens = drawLength(prompt, own);
      return { promptTokens, outputTokens: drawLength(output, own), sharedTokens: 0, family: 1 };
    },
  };
}

const noCost: PlanCost = {
  perTickMs: 0,
  perPassMs: 1,
  perTokenMs: 0,
  perSampledRowMs: 0,
  perAttendedTokenMs: 0,
  noiseSigma: 0,
};

async function validate(modelPath: string, slots: number, seconds: number, threads: number) {
  const runtime = await loadLlamaRuntime({ modelPath, slots, contextTokens, batchTokens, threads });
  const ticks = recordTicks(runtime);
  const core = openCore(runtime, threads);
  const calibrations = [1, Math.ceil(slots / 3), slots].map((clients, index) => ({
    name: `calibration ${index}`,
    load: { kind: 'closed', clients, untilMs: (seconds * 1000) / 3 } as const,
    prompt: lognormal(100, 1, 600),
    output: lognormal(40, 0.7, 200),
  }));
  for (const workload of calibrations)
    await runLive(core, fleetOptions(workload, slots, noCost), workload.name);
  const cost = fitCost(ticks);
  const [saturated] = workloads(slots, seconds, 1);
  const capacity = simulateFleet(fleetOptions(saturated!, slots, cost)).length / seconds;
  const comparisons: Comparison[] = [];
  for (const workload of workloads(slots, seconds, capacity * 0.4)) {
    const options = fleetOptions(workload, slots, cost);
    const window = { startMs: warmUpShare * seconds * 1000, endMs: seconds * 1000 };
    const live = planMetrics(await runLive(core, options, workload.name), targets, window);
    const simulated = planMetrics(simulateFleet(options), targets, window);
    comparisons.push({ workload: workload.name, live, simulated });
  }
  await core.close(1000);
  return {
    model: runtime.name,
    machine: machineInfo(),
    slots,
    threads,
    seconds,
    calibrationTicks: ticks.length,
    cost,
    comparisons,
  };
}

function render({ model, slots, threads, cost, comparisons }: Awaited<ReturnType<typeof validate>>): string {
  const rows = comparisons.flatMap(({ workload, live, simulated }) =>
    compared.map((name, index) => {
      const error = simulated[name] / live[name] - 1;
      const verdict = index >= judgedCount ? '' : Math.abs(error) <= tolerance ? 'yes' : 'NO';
      return `| ${workload} | ${name} | ${simulated[name].toFixed(1)} | ${live[name].toFixed(1)} | ${(error * 100).toFixed(0)}% | ${verdict} |`;
    }),
  );
  return [
    `# Predicted and measured: ${model}, ${slots} slots, ${threads} threads`,
    '',
    `Fitted cost: \`${JSON.stringify(cost)}\``,
    '',
    '| workload | metric | predicted | measured | error | within 20% |',
    '| --- | --- | ---: | ---: | ---: | --- |',
    ...rows,
    '',
  ].join('\n');
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      model: { type: 'string' },
      slots: { type: 'string', default: '8' },
      seconds: { type: 'string', default: '30' },
      threads: { type: 'string', default: String(availableParallelism()) },
      out: { type: 'string', default: 'bench/results/plan-validation' },
    },
  });
  if (!values.model) throw new Error('--model FILE.gguf is needed');
  const result = await validate(
    values.model,
    Number(values.slots),
    Number(values.seconds),
    Number(values.threads),
  );
  const markdown = render(result);
  mkdirSync(dirname(values.out), { recursive: true });
  writeFileSync(`${values.out}.md`, markdown);
  writeFileSync(`${values.out}.json`, `${JSON.stringify(result, null, 2)}\n`);
  console.log(markdown);
}

if (isMain(import.meta.url)) await main();
