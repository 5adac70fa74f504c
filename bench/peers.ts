import { existsSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { tinyModelPath } from '../src/models/tiny-model.js';
import { isMain } from './is-main.js';
import { TargetError } from './load/endpoint.js';
import { loadFlags, parseLoadOptions, parseSeeds, splitList, UsageError } from './options.js';
import { measureOverhead } from './overhead.js';
import { measureCeiling } from './peers/ceiling.js';
import { differences, newResults, refreshCircumstances } from './peers/circumstances.js';
import { type ComparisonPlan, compare } from './peers/comparison.js';
import { adoptBuild, describeBuild, PeerError, preparePeers } from './peers/prepare.js';
import { QuietKeeper } from './peers/quiet.js';
import { requantize } from './peers/requantize.js';
import { describeSchedule, scheduleOf } from './peers/schedule.js';
import { peerSpecs, selectPeers } from './peers/specs.js';
import {
  newestResultsFile,
  readResults,
  resultsFiles,
  unusedResultsFile,
  writeReport,
  writeResults,
} from './report/files.js';
import { renderGoals } from './report/goals.js';
import type { BenchResults } from './report/results.js';
import { renderTextTable, scenarioTable } from './report/tables.js';
import { scenarios, selectScenarios } from './scenarios/index.js';
import { measureAllSizes } from './scheduler-micro.js';
import { profileTicks } from './tick-profile.js';

const help = `npm run bench:peers -- [flags]: chairlift against its peers, same model, slots, context and threads

  --scenarios LIST   names, families or "all" (default); others in the results file are kept
                     ${scenarios.map(({ name }) => name).join(', ')}
  --peers LIST       ${peerSpecs.map(({ name }) => name).join(', ')} or "all" (default)
  --seeds N|LIST     rounds (3); sequence.evaluate() and the serial server get one where runs are long
  --plan             print what would be measured and how long it takes, and stop
  --minutes N        start no run that would not end within N minutes; go on later with --resume
  --quiet-minutes N  wait up to N minutes in all (0) for others to leave the machine alone, and repeat disturbed runs
  --resume           leave out runs that the results file already holds
  --fresh            start a new results file although the newest one has the same circumstances
  --results FILE     default: the newest one of this machine, model, load and release in bench/results/, else a new one
  --report-only      only write bench/README.md, the plots and the page again
  --model FILE       the GGUF file (default: CHAIRLIFT_BENCH_MODEL, else the model cache of chairlift)
  --requantize TYPE  measure the model in this quantisation, e.g. Q4_0, made by llama-quantize beside the file
  --slots N (32)  --threads N (2)  and the load flags of chairlift bench (--clients, ...);
                     --seconds 12 means the official windows, other values scale them all
  --adopt-build DIR  copy a ready build of llama-server into the cache and stop

Environment: CHAIRLIFT_PEERS_DIR, a folder with llama-server, llama-batched-bench and llama-quantize of the same release.
`;

const flags = {
  ...loadFlags,
  help: { type: 'boolean', short: 'h' },
  scenarios: { type: 'string' },
  peers: { type: 'string' },
  seeds: { type: 'string', default: '3' },
  plan: { type: 'boolean' },
  minutes: { type: 'string' },
  fresh: { type: 'boolean' },
  resume: { type: 'boolean' },
  'quiet-minutes': { type: 'string', default: '0' },
  results: { type: 'string' },
  'report-only': { type: 'boolean' },
  model: { type: 'string' },
  requantize: { type: 'string' },
  slots: { type: 'string', default: '32' },
  threads: { type: 'string', default: '2' },
  'adopt-build': { type: 'string' },
} as const;

type Flags = ReturnType<typeof parseArgs<{ options: typeof flags }>>['values'];

/** @returns exit code: 0 done, 1 something failed, 2 wrong usage */
export async function runPeers(argv: string[]): Promise<number> {
  try {
    const values = readFlags(argv);
    if (values.help) process.stdout.write(help);
    else if (values['adopt-build']) adoptBuild(values['adopt-build'], describeBuild());
    else if (values['report-only']) reportOnly(values.results);
    else await measure(values);
    return 0;
  } catch (error) {
    const isUsage = error instanceof UsageError || error instanceof RangeError;
    if (!isUsage && !(error instanceof PeerError || error instanceof TargetError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return isUsage ? 2 : 1;
  }
}

function readFlags(argv: string[]): Flags {
  try {
    return parseArgs({ args: argv, options: flags }).values;
  } catch (error) {
    throw new UsageError(`${(error as Error).message} (--help lists the flags)`);
  }
}

function reportOnly(given: string | undefined): void {
  const file = given ?? newestResultsFile();
  if (!file || !existsSync(file)) throw new UsageError('There are no results yet.');
  for (const written of writeReport(file, readResults(file))) process.stdout.write(`Wrote ${written}\n`);
}

async function measure(values: Flags): Promise<void> {
  const plan = await planOf(values);
  const wanted = newResults(plan.options, plan.profile.modelPath);
  refreshCircumstances(wanted, plan.peers, plan.binaries, plan.profile);
  const file = resultsFile(values, wanted);
  const results = existsSync(file) ? readResults(file) : wanted;
  refreshCircumstances(results, plan.peers, plan.binaries, plan.profile);
  process.stderr.write(`${existsSync(file) ? 'Adding to' : 'Starting'} ${file}\n`);
  if (values.plan) {
    process.stdout.write(`${describeSchedule(scheduleOf(plan, results))}\n`);
    return;
  }
  const save = (): void => {
    results.updatedAt = new Date().toISOString();
    writeResults(file, results);
  };
  await measureSurroundings(plan, results, save);
  const missing = await compareUntilStopped(plan, results, save);
  for (const scenario of plan.scenarios) {
    process.stdout.write(`\n${scenario.title}\n${renderTextTable(scenarioTable(results, scenario), '')}\n`);
  }
  process.stdout.write(`\n${renderGoals(results)}\n`);
  for (const written of [file, ...writeReport(file, results)]) process.stdout.write(`Wrote ${written}\n`);
  if (missing > 0) process.stdout.write(`${missing} runs are missing; go on with --resume.\n`);
}

async function planOf(values: Flags): Promise<ComparisonPlan> {
  const startedAtMs = performance.now();
  const minutes = values.minutes === undefined ? Number.POSITIVE_INFINITY : Number(values.minutes);
  if (!(minutes > 0)) throw new UsageError(`--minutes must be above 0, got "${values.minutes}".`);
  const binaries = await preparePeers((line) => process.stderr.write(`${line}\n`));
  const given = findModel(values.model);
  const modelPath = values.requantize ? requantize(given, values.requantize, binaries) : given;
  return {
    peers: selectPeers(splitList(values.peers ?? 'all')),
    scenarios: selectScenarios(splitList(values.scenarios ?? 'all')),
    seeds: parseSeeds(values.seeds),
    options: parseLoadOptions(values),
    profile: {
      modelPath,
      slots: Number(values.slots),
      threads: Number(values.threads),
    },
    binaries,
    resume: values.resume ?? false,
    deadlineMs: startedAtMs + minutes * 60_000,
    quiet: new QuietKeeper(Number(values['quiet-minutes']) * 60_000),
  };
}

/** Numbers of different machines, loads or models must not meet in one table. */
function resultsFile(values: Flags, wanted: BenchResults): string {
  if (values.results) {
    const differing = existsSync(values.results) ? differences(readResults(values.results), wanted) : [];
    if (differing.length === 0) return values.results;
    throw new UsageError(`${values.results} was measured differently:\n  ${differing.join('\n  ')}`);
  }
  const fitting = values.fresh
    ? undefined
    : resultsFiles().find((file) => differences(readResults(file), wanted).length === 0);
  return fitting ?? unusedResultsFile();
}

async function compareUntilStopped(
  plan: ComparisonPlan,
  results: BenchResults,
  save: () => void,
): Promise<number> {
  const stop = new AbortController();
  const onInterrupt = (): void => stop.abort();
  process.once('SIGINT', onInterrupt);
  process.once('SIGTERM', onInterrupt);
  try {
    return await compare(plan, results, stop.signal, save);
  } finally {
    process.off('SIGINT', onInterrupt);
    process.off('SIGTERM', onInterrupt);
  }
}

/** What is true of generator and arithmetic whatever the server: measured once per results file. */
async function measureSurroundings(
  plan: ComparisonPlan,
  results: BenchResults,
  save: () => void,
): Promise<void> {
  const { options, profile, binaries } = plan;
  if (!results.overhead) {
    process.stderr.write('measuring the load generator alone\n');
    results.overhead = await measureOverhead();
    save();
  }
  if (!results.schedulerMicro) {
    process.stderr.write('measuring the scheduler alone\n');
    results.schedulerMicro = measureAllSizes(1000);
    save();
  }
  if (!results.ticks) {
    process.stderr.write('measuring the inside of a tick\n');
    results.ticks = [
      await profileTicks(profile.modelPath, profile.threads, 160),
      await profileTicks(profile.modelPath, profile.threads, 16, 1),
      await profileTicks(tinyModelPath, 1, 640),
    ];
    save();
  }
  if (!results.ceiling) {
    process.stderr.write('measuring the arithmetic alone (llama-batched-bench)\n');
    const tokens = { prompt: options.promptTokens, output: options.outputTokens };
    results.ceiling = plan.seeds.map(() =>
      measureCeiling({ ...profile, contextTokens: 1024 }, binaries, tokens),
    );
    save();
  }
}

/** @throws UsageError when there is no model to be found */
export function findModel(given: string | undefined): string {
  const cache = process.env.CHAIRLIFT_MODEL_CACHE ?? join(homedir(), '.cache', 'chairlift', 'models');
  const candidates = [
    given,
    process.env.CHAIRLIFT_BENCH_MODEL,
    join(cache, 'SmolLM2-135M-Instruct.Q4_1.gguf'),
  ].filter((path): path is string => path !== undefined);
  const found = candidates.find((path) => existsSync(path));
  if (found && (!given || found === given)) return found;
  throw new UsageError(
    `No model at ${(given ? [given] : candidates).join(' or ')}; give one with --model FILE.`,
  );
}

if (isMain(import.meta.url)) {
  process.exitCode = await runPeers(process.argv.slice(2));
}
