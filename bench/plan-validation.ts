/**
 * Does `chairlift plan` tell the truth? Measures the cost of a tick with `chairlift doctor --cost`, then sends three
 * workloads to `chairlift serve` over HTTP and to the simulated fleet, and keeps both: throughput and ITL p50 and p99 should
 * agree within 20%. Wants a quiet machine.
 *
 *   npm run bench:plan-validation -- --model model.gguf [--slots 8] [--threads 1] [--seconds 40] [--out FILE.json]
 *
 * One thread by default: on two cores the other one is for JavaScript, sockets and this load generator, which `doctor`
 * does not have beside it. Two spinning threads that lose a core to others take many times longer.
 */
import { spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import type { CallCost } from '../src/serving/call-cost.js';
import { isMain } from './is-main.js';
import { arrivalScheduleMs } from './load/arrivals.js';
import { drawLength, type LengthDistribution } from './load/lengths.js';
import { Random } from './load/random.js';
import { freePort, ServerProcess } from './peers/server-process.js';
import { type FleetOptions, type Load, simulateFleet } from './plan/fleet.js';
import { runLive } from './plan/live-run.js';
import { planMetrics } from './plan/plan-metrics.js';
import { fileCost } from './plan/plan-options.js';
import { newestResultsFile, planValidationFile, readResults, writeReport } from './report/files.js';
import { machineInfo } from './report/machine.js';
import { type PlanValidation, planValidationSection } from './report/plan-validation.js';

interface Server {
  modelPath: string;
  slots: number;
  threads: number;
}

interface Workload {
  name: string;
  load: Load;
  prompt: LengthDistribution;
  output: LengthDistribution;
}

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

function fleetOptions({ name, load, prompt, output }: Workload, slots: number, cost: CallCost): FleetOptions {
  const random = new Random(name);
  return {
    worker: { slots, contextTokens, batchTokens, itlTargetMs: targets.itlMs, cost },
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

/** What a user would type. */
function chairlift(
  command: string,
  { modelPath, slots, threads }: Server,
  more: readonly string[],
): string[] {
  const shape = {
    '--slots': slots,
    '--threads': threads,
    '--context': contextTokens,
    '--batch': batchTokens,
  };
  const words = Object.entries(shape).flatMap(([flag, value]) => [flag, `${value}`]);
  return ['--import', 'tsx', 'src/cli/chairlift.cts', command, '--model', modelPath, ...words, ...more];
}

async function measureCost(subject: Server): Promise<CallCost> {
  const file = join(tmpdir(), `chairlift-cost-${process.pid}.json`);
  const words = chairlift('doctor', subject, ['--port', '0', '--cost', file]);
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'ignore', 'inherit'] });
  const code = await new Promise((resolve) => child.once('exit', resolve));
  if (code !== 0) throw new Error(`chairlift doctor ended with ${code}`);
  const mistakes: string[] = [];
  const cost = fileCost(file, mistakes);
  if (mistakes.length > 0) throw new Error(mistakes.join('\n'));
  return cost;
}

async function validate(subject: Server, seconds: number): Promise<PlanValidation> {
  const { modelPath, slots, threads } = subject;
  const cost = await measureCost(subject);
  const port = await freePort();
  const words = ['--port', `${port}`, '--itl-target-ms', `${targets.itlMs}`, '--log-level', 'warn'];
  const args = chairlift('serve', subject, words);
  const server = await ServerProcess.start('chairlift', { command: process.execPath, args }, port);
  const [saturated] = workloads(slots, seconds, 1);
  const capacity = simulateFleet(fleetOptions(saturated!, slots, cost)).length / seconds;
  const comparisons: PlanValidation['comparisons'] = [];
  try {
    for (const workload of workloads(slots, seconds, capacity * 0.4)) {
      const options = fleetOptions(workload, slots, cost);
      const window = { startMs: warmUpShare * seconds * 1000, endMs: seconds * 1000 };
      const { outcomes, chunksPerToken } = await runLive(server.target, options, workload.name);
      const live = planMetrics(outcomes, targets, window);
      live.tokensPerSecond /= chunksPerToken;
      const simulated = planMetrics(simulateFleet(options), targets, window);
      comparisons.push({ workload: workload.name, live, simulated, chunksPerToken });
    }
  } finally {
    await server.stop();
  }
  const { itlMs: itlTargetMs } = targets;
  const model = basename(modelPath);
  return { model, machine: machineInfo(), slots, threads, seconds, itlTargetMs, cost, comparisons };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      model: { type: 'string' },
      slots: { type: 'string', default: '8' },
      threads: { type: 'string', default: '1' },
      seconds: { type: 'string', default: '40' },
      out: { type: 'string', default: planValidationFile },
    },
  });
  if (!values.model) throw new Error('--model FILE.gguf is needed');
  const subject = { modelPath: values.model, slots: Number(values.slots), threads: Number(values.threads) };
  const result = await validate(subject, Number(values.seconds));
  mkdirSync(dirname(values.out), { recursive: true });
  writeFileSync(values.out, `${JSON.stringify(result, null, 1)}\n`);
  console.log(planValidationSection(result).join('\n'));
  const results = newestResultsFile();
  if (results && values.out === planValidationFile) writeReport(results, readResults(results));
}

if (isMain(import.meta.url)) await main();
