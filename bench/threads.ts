import { existsSync } from 'node:fs';
import { basename } from 'node:path';
import { parseArgs } from 'node:util';
import { countPasses, type Row, TickCosts, type TickPlan, workOf } from '../scheduler/index.js';
import type { Engine } from '../src/engine/engine.js';
import { loadLlamaRuntime } from '../src/engine/llama/load-llama-runtime.js';
import { greedySampling } from '../src/engine/sampling-parameters.js';
import { type NativeChoice, nativeChoices } from '../src/models/native-build.js';
import { calibrate, threadChoicesUpTo } from '../src/serving/calibration.js';
import { isMain } from './is-main.js';
import { sorted } from './load/statistics.js';
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

Leave the machine alone meanwhile. Writes bench/results/threads.json and bench/README.md.
`;

const slots = 32;
const contextTokens = 1024;
const batchTokens = 512;
/** Every row starts here. */
const heldTokens = 128;
/** Of the calls of one kind, the slowest tenth are hiccups of the machine. */
const keptShare = 0.9;
/** Of the time, before anything is measured. */
const learningShare = 0.15;

interface Shape {
  rows: number;
  tokensEach: number;
  /** Long calls are made in every so many rounds. */
  everyRounds: number;
}

const shapes: readonly Shape[] = [
  ...[1, 2, 4, 8].map((rows) => ({ rows, tokensEach: 1, everyRounds: 1 })),
  { rows: 16, tokensEach: 1, everyRounds: 2 },
  { rows: 32, tokensEach: 1, everyRounds: 3 },
  { rows: 1, tokensEach: 64, everyRounds: 6 },
  { rows: 1, tokensEach: 256, everyRounds: 16 },
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
  for (const call of (await calibrate(engine, choices, 2_000, clocks)).measurements) {
    costs.observe(call.work, call.threads, call.decodeMs);
  }
  await fillSlots(engine, threads);
  await learn(engine, costs, nowMs() + learningShare * seconds * 1000);
  const timings = shapes.map(
    (): Timings => ({ ms: new Map(modes.map((mode) => [mode, []])), learnedThreads: [] }),
  );
  const endMs = nowMs() + (1 - learningShare) * seconds * 1000;
  for (let round = 0; nowMs() < endMs; round += 1) {
    for (const [index, shape] of shapes.entries()) {
      if (round % shape.everyRounds > 0) continue;
      for (let turn = 0; turn < modes.length; turn += 1) {
        const mode = modes[(round + turn) % modes.length]!;
        await timeCall(engine, costs, shape, mode, timings[index]!);
      }
    }
  }
  return shapes.map((shape, index) => summarizeShape(shape, timings[index]!, choices));
}

/** What a server knows after its first minutes: no call of this counts. */
async function learn(engine: Engine, costs: TickCosts, endMs: number): Promise<void> {
  const ignored: Timings = { ms: new Map([['learned', []]]), learnedThreads: [] };
  while (performance.now() < endMs) {
    for (const shape of shapes) await timeCall(engine, costs, shape, 'learned', ignored);
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
  return { tick: 0, operations, rows, work: workOf(rows, countPasses(rows, batchTokens)) };
}

async function fillSlots(engine: Engine, threads: number): Promise<void> {
  for (let slot = 0; slot < slots; slot += 1) {
    const tokens = Uint32Array.from({ length: heldTokens }, (_, index) => 300 + ((slot * 31 + index) % 900));
    engine.openSampler(slot, greedySampling, tokens);
    const rows: Row[] = [{ sequenceId: slot, slot, firstPosition: 0, tokens, sample: false }];
    await engine.run({ tick: 0, operations: [], rows, work: workOf(rows, 1), threads });
  }
}

function summarizeShape(
  { rows, tokensEach }: Shape,
  { ms, learnedThreads }: Timings,
  choices: readonly number[],
): ShapeTimes {
  const meanOf = (mode: Mode): number => {
    const ascending = sorted(ms.get(mode)!);
    const kept = ascending.subarray(0, Math.max(1, Math.floor(ascending.length * keptShare)));
    return kept.reduce((total, each) => total + each, 0) / kept.length;
  };
  return {
    rows,
    tokensEach,
    calls: learnedThreads.length,
    fixedMs: Object.fromEntries(choices.map((threads) => [threads, meanOf(threads)])),
    learnedMs: meanOf('learned'),
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
    measuredAt: new Date().toISOString(),
    shapes: await measure(runtime.engine, threads, Number(values.seconds)),
  };
  await runtime.engine.close();
  writeThreads(threadsFile, mergeThreads(readThreads(threadsFile), build));
  process.stdout.write(`${JSON.stringify(build, null, 1)}\n`);
  const results = newestResultsFile();
  if (results && existsSync(results)) writeReport(results, readResults(results));
}

if (isMain(import.meta.url)) {
  await main();
  process.exit(0);
}
