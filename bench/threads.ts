import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import { type Row, TickCosts, type TickPlan, workOf } from '../scheduler/index.js';
import type { Engine } from '../src/engine/engine.js';
import { loadLlamaRuntime } from '../src/engine/llama/load-llama-runtime.js';
import { greedySampling } from '../src/engine/sampling-parameters.js';
import { type NativeChoice, nativeChoices } from '../src/models/native-build.js';
import { type Clocks, calibrate, type Measurement, threadChoicesUpTo } from '../src/serving/calibration.js';
import { isMain } from './is-main.js';
import { percentile, sorted } from './load/statistics.js';
import { findModel } from './peers.js';
import { newestResultsFile, readResults, threadsFile, writeReport } from './report/files.js';
import { machineInfo } from './report/machine.js';
import {
  type BuildThreads,
  mergeThreads,
  readThreads,
  type ShapeTimes,
  writeThreads,
} from './report/threads.js';

const help = `npm run bench:threads -- [flags]: decode calls with fixed numbers of threads and with the learned one

  --native NAME   ${nativeChoices.join(', ')} (auto): which llama.cpp
  --model FILE    default: as bench:peers
  --threads N     most threads (2)
  --seconds N     how long to measure (120)
  --again         add to the runs of this build instead of replacing them

Leave the machine alone meanwhile. Writes bench/results/threads.json and bench/README.md.
`;

const slots = 32;
const contextTokens = 1024;
const batchTokens = 512;
/** Every row starts here. */
const heldTokens = 128;
/** Of the time, before anything is measured. */
const learningShare = 0.25;
const mostCalibrations = 5;

interface Shape {
  rows: number;
  tokensEach: number;
  /** Short calls are made several times in every round ... */
  timesPerRound: number;
  /** ... and long ones in every so many rounds. */
  everyRounds: number;
}

const shapes: readonly Shape[] = [
  { rows: 1, tokensEach: 1, timesPerRound: 8, everyRounds: 1 },
  { rows: 2, tokensEach: 1, timesPerRound: 4, everyRounds: 1 },
  { rows: 4, tokensEach: 1, timesPerRound: 3, everyRounds: 1 },
  { rows: 8, tokensEach: 1, timesPerRound: 2, everyRounds: 1 },
  { rows: 16, tokensEach: 1, timesPerRound: 1, everyRounds: 1 },
  { rows: 32, tokensEach: 1, timesPerRound: 1, everyRounds: 1 },
  { rows: 1, tokensEach: 64, timesPerRound: 1, everyRounds: 2 },
  { rows: 1, tokensEach: 128, timesPerRound: 1, everyRounds: 4 },
  { rows: 1, tokensEach: 256, timesPerRound: 1, everyRounds: 8 },
  { rows: 1, tokensEach: 512, timesPerRound: 1, everyRounds: 16 },
];

/** A fixed number of threads, or the scheduler's choice. */
type Mode = number | 'learned';

interface Timings {
  ms: Map<Mode, number[]>;
  learnedThreads: number[];
}

/** Times every shape in every mode, in turns, for as long as it is told. */
async function measure(engine: Engine, threads: number, seconds: number): Promise<ShapeTimes[]> {
  const choices = threadChoicesUpTo(threads);
  const modes: readonly Mode[] = [...choices, 'learned'];
  const nowMs = () => performance.now();
  const clocks = { nowMs, processorMs: () => process.cpuUsage().user / 1000 };
  const costs = new TickCosts(choices);
  for (const call of await calibrateInPeace(engine, choices, clocks)) {
    costs.learn(call.work, call.threads, call.decodeMs);
  }
  await fillSlots(engine, threads);
  await learn(engine, costs, nowMs() + learningShare * seconds * 1000);
  const timings = shapes.map(
    (): Timings => ({ ms: new Map(modes.map((mode) => [mode, []])), learnedThreads: [] }),
  );
  const endMs = nowMs() + (1 - learningShare) * seconds * 1000;
  for (let round = 0; nowMs() < endMs; round += 1) {
    for (const [index, shape] of shapes.entries()) {
      for (let call = 0; call < callsIn(round, shape); call += 1) {
        for (let turn = 0; turn < modes.length; turn += 1) {
          const mode = modes[(round + call + turn) % modes.length]!;
          await timeCall(engine, costs, shape, mode, timings[index]!);
        }
      }
    }
  }
  return shapes.map((shape, index) => summarizeShape(shape, timings[index]!, choices));
}

/** A server keeps no calibration that others disturbed. */
async function calibrateInPeace(
  engine: Engine,
  choices: readonly number[],
  clocks: Clocks,
): Promise<Measurement[]> {
  for (let attempt = 1; ; attempt += 1) {
    const { measurements, undisturbed } = await calibrate(engine, choices, 2_000, clocks);
    if (undisturbed || attempt === mostCalibrations) return measurements;
    process.stderr.write('Others kept the cores busy during the calibration: once more.\n');
  }
}

function callsIn(round: number, { timesPerRound, everyRounds }: Shape): number {
  return round % everyRounds === 0 ? timesPerRound : 0;
}

/** What a server knows after its first minutes: no call of this counts. */
async function learn(engine: Engine, costs: TickCosts, endMs: number): Promise<void> {
  const ignored: Timings = { ms: new Map([['learned', []]]), learnedThreads: [] };
  for (let round = 0; performance.now() < endMs; round += 1) {
    for (const shape of shapes) {
      for (let call = 0; call < callsIn(round, shape); call += 1) {
        await timeCall(engine, costs, shape, 'learned', ignored);
      }
    }
  }
}

async function timeCall(
  engine: Engine,
  costs: TickCosts,
  shape: Shape,
  mode: Mode,
  timings: Timings,
): Promise<void> {
  const plan = planOf(shape);
  const threads = mode === 'learned' ? costs.chooseThreads(plan.work) : mode;
  const { result } = await engine.run({ ...plan, threads });
  if (result.outcome !== 'decoded') throw new Error(`a decode call ended as ${result.outcome}`);
  timings.ms.get(mode)!.push(result.decodeMs);
  if (mode !== 'learned') return;
  timings.learnedThreads.push(threads);
  costs.observe(plan.work, threads, result.decodeMs);
}

function planOf({ rows: count, tokensEach }: Shape): Omit<TickPlan, 'threads'> {
  const rows: Row[] = Array.from({ length: count }, (_, slot) => ({
    sequenceId: slot,
    slot,
    firstPosition: heldTokens,
    tokens: new Uint32Array(tokensEach).fill(300 + slot),
    sample: true,
  }));
  const operations = rows.map(({ slot }) => ({ kind: 'truncate', slot, keepTokens: heldTokens }) as const);
  return { tick: 0, operations, rows, work: workOf(rows, batchTokens) };
}

async function fillSlots(engine: Engine, threads: number): Promise<void> {
  for (let slot = 0; slot < slots; slot += 1) {
    const tokens = Uint32Array.from({ length: heldTokens }, (_, index) => 300 + ((slot * 31 + index) % 900));
    engine.openSampler(slot, greedySampling, tokens);
    const rows: Row[] = [{ sequenceId: slot, slot, firstPosition: 0, tokens, sample: false }];
    await engine.run({ tick: 0, operations: [], rows, work: workOf(rows, batchTokens), threads });
  }
}

function summarizeShape(
  { rows, tokensEach }: Shape,
  { ms, learnedThreads }: Timings,
  choices: readonly number[],
): ShapeTimes {
  const medianOf = (mode: Mode): number => percentile(sorted(ms.get(mode)!), 0.5);
  return {
    rows,
    tokensEach,
    calls: learnedThreads.length,
    fixedMs: Object.fromEntries(choices.map((threads) => [threads, medianOf(threads)])),
    learnedMs: medianOf('learned'),
    learnedShares: Object.fromEntries(
      choices.map((threads) => [
        threads,
        learnedThreads.filter((each) => each === threads).length / learnedThreads.length,
      ]),
    ),
  };
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      native: { type: 'string', default: 'auto' },
      model: { type: 'string' },
      threads: { type: 'string', default: '2' },
      seconds: { type: 'string', default: '120' },
      again: { type: 'boolean', default: false },
      help: { type: 'boolean' },
    },
  });
  if (values.help) {
    process.stdout.write(help);
    return;
  }
  const native = nativeChoices.find((choice): choice is NativeChoice => choice === values.native);
  if (!native) throw new RangeError(`--native ${values.native}: must be one of ${nativeChoices.join(', ')}`);
  const modelPath = findModel(values.model);
  const threads = Number(values.threads);
  const runtime = await loadLlamaRuntime({ modelPath, native, slots, contextTokens, batchTokens, threads });
  const build: BuildThreads = {
    native: runtime.native,
    model: basename(modelPath),
    machine: machineInfo(),
    runs: [
      {
        measuredAt: new Date().toISOString(),
        shapes: await measure(runtime.engine, threads, Number(values.seconds)),
      },
    ],
  };
  await runtime.engine.close();
  writeThreads(threadsFile, mergeThreads(readThreads(threadsFile), build, values.again));
  process.stdout.write(`${JSON.stringify(build, null, 1)}\n`);
  const results = newestResultsFile();
  if (results && existsSync(results)) writeReport(results, readResults(results));
}

if (isMain(import.meta.url)) {
  await main();
  process.exit(0);
}
