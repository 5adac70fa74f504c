import { existsSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { isMain } from './is-main.js';
import { TargetError } from './load/endpoint.js';
import type { Ratio } from './load/statistics.js';
import { loadFlags, parseLoadOptions, UsageError } from './options.js';
import { differences, newResults, refreshCircumstances } from './peers/circumstances.js';
import { compare } from './peers/comparison.js';
import { type PeerBinaries, PeerError, preparePeers } from './peers/prepare.js';
import { noisyCores, QuietKeeper } from './peers/quiet.js';
import { requantize } from './peers/requantize.js';
import { selectPeers } from './peers/specs.js';
import { findModel } from './peers.js';
import { judge, type RatioChange, type Verdict } from './regression.js';
import {
  namedResultsFiles,
  readResults,
  resultsFiles,
  unusedResultsFile,
  writeResults,
} from './report/files.js';
import { machineInfo } from './report/machine.js';
import { orientedRatio } from './report/markdown.js';
import { formatNumber, metricHeading } from './report/metrics.js';
import type { BenchResults, RunResult } from './report/results.js';
import { selectScenarios } from './scenarios/index.js';
import type { LoadOptions } from './scenarios/scenario.js';

const help = `npm run bench:smoke -- [--baseline] [--model FILE] [--requantize TYPE] [--threads 2]

  Runs chairlift and llama-server through three short scenarios (under 3 minutes) and compares their ratios with
  those of the last committed results of this machine. Exit code 1 when something got worse beyond noise.

  --baseline   write these runs into the results file of this machine: what later runs are compared with (takes as long
               as it needs)
  --model FILE, --requantize TYPE   as for bench:peers; default: the quantisation of this machine's baseline
`;

/** What must not get worse, as scenario and metric. */
const keyRatios = [
  ['throughput', 'generatedTokensPerSecond'],
  ['throughput', 'ttftP50Ms'],
  ['throughput', 'itlP50Ms'],
  ['shared-prefix-200', 'generatedTokensPerSecond'],
  ['shared-prefix-200', 'ttftP50Ms'],
  ['interference', 'itlP50Ms'],
  ['interference', 'itlP99Ms'],
  ['interference', 'totalSeconds'],
] as const;

const seeds = [1, 2, 3];
/** No run is started after that; what is there is compared. */
const budgetMs = 165_000;
/** Half of the slots are kept busy: filling all of them is what takes longest in a short run. */
const clients = 16;

const flags = {
  help: { type: 'boolean', short: 'h' },
  baseline: { type: 'boolean' },
  model: { type: 'string' },
  requantize: { type: 'string' },
  threads: { type: 'string', default: '2' },
} as const;

/** @returns exit code: 0 nothing got worse, 1 something did or failed, 2 wrong usage */
export async function runSmoke(argv: string[]): Promise<number> {
  try {
    const { values } = parseArgs({ args: argv, options: flags });
    if (values.help) {
      process.stdout.write(help);
      return 0;
    }
    const measured = await measure(values);
    return values.baseline ? writeBaseline(measured) : report(measured);
  } catch (error) {
    if (error instanceof UsageError || (error as Error).name === 'TypeError') {
      process.stderr.write(`${(error as Error).message}\n`);
      return 2;
    }
    if (!(error instanceof PeerError || error instanceof TargetError)) throw error;
    process.stderr.write(`${error.message}\n`);
    return 1;
  }
}

function defaultOptions(): LoadOptions {
  const defaults = Object.entries(loadFlags).map(([name, flag]) => [
    name,
    'default' in flag ? flag.default : undefined,
  ]);
  return parseLoadOptions(Object.fromEntries(defaults));
}

interface SmokeFlags {
  model?: string | undefined;
  requantize?: string | undefined;
  threads: string;
  baseline?: boolean | undefined;
}

async function measure(flags: SmokeFlags): Promise<BenchResults> {
  const options = { ...defaultOptions(), clients, seconds: 2, outputTokens: 24 };
  const threads = Number(flags.threads);
  const binaries = await preparePeers((line) => process.stderr.write(`${line}\n`));
  const modelPath = modelOf(flags, binaries);
  const results = newResults(options, modelPath);
  const peers = selectPeers(['chairlift', 'llama-server']);
  const profile = { modelPath, slots: 32, threads };
  refreshCircumstances(results, peers, binaries, profile);
  // One window for all of them, so that the servers start once.
  const scenarios = selectScenarios([...new Set(keyRatios.map(([scenario]) => scenario))]).map(
    (scenario) => ({
      ...scenario,
      contextTokens: 2048,
    }),
  );
  const limitMs = flags.baseline ? Number.POSITIVE_INFINITY : budgetMs;
  const missing = await compare(
    {
      peers,
      scenarios,
      seeds,
      options,
      profile,
      binaries,
      resume: false,
      seedsFirst: true,
      deadlineMs: performance.now() + limitMs,
      quiet: new QuietKeeper(0),
    },
    results,
    flags.baseline ? new AbortController().signal : AbortSignal.timeout(budgetMs + 10_000),
    () => {},
  );
  if (missing > 0)
    process.stdout.write(`\n${missing} runs were not made; the ratios below are of fewer rounds.\n`);
  return results;
}

/** As asked for, else as this machine's newest baseline was measured. */
function modelOf({ model, requantize: type }: SmokeFlags, binaries: PeerBinaries): string {
  const given = findModel(model);
  if (type) return requantize(given, type, binaries);
  if (model) return given;
  const { cpu, cores } = machineInfo();
  const baseline = allResultsFiles()
    .map(readResults)
    .find(({ machine, smoke }) => smoke && machine.cpu === cpu && machine.cores === cores);
  const known = /\.(Q\w+)\.gguf$/.exec(baseline?.model.name ?? '')?.[1];
  return known ? requantize(given, known, binaries) : given;
}

function allResultsFiles(): string[] {
  return [...resultsFiles(), ...namedResultsFiles()];
}

/** The newest results of this machine, model and release; the load does not matter, smoke runs have their own. */
function resultsOfThisMachine(measured: BenchResults): string | undefined {
  return allResultsFiles().find(
    (file) => differences({ ...readResults(file), options: measured.options }, measured).length === 0,
  );
}

function writeBaseline(measured: BenchResults): number {
  const file = resultsOfThisMachine(measured) ?? unusedResultsFile();
  const kept = existsSync(file) ? readResults(file) : { ...measured, options: defaultOptions(), runs: [] };
  writeResults(file, { ...kept, smoke: measured.runs.map(({ curves, ...run }) => run) });
  process.stdout.write(`Wrote the baseline of bench:smoke into ${file}; commit it.\n`);
  return 0;
}

function report(measured: BenchResults): number {
  const file = resultsOfThisMachine(measured);
  const baseline = file ? readResults(file).smoke : undefined;
  const before = { ...measured, runs: baseline ?? [] };
  const changes = keyRatios.map(
    ([scenario, metric]): RatioChange => ({
      scenario,
      metric,
      before: orientedRatio(before, scenario, metric),
      now: orientedRatio(measured, scenario, metric),
    }),
  );
  process.stdout.write('\nchairlift / llama-server, above 1 is better for chairlift; then -> now\n');
  for (const change of changes) process.stdout.write(`${describeChange(change)}\n`);
  if (!baseline) {
    const where = file ?? `results of this machine (${measured.machine.cpu}) and model`;
    process.stdout.write(
      `\nNothing to compare with: no baseline in ${where}. Write one with npm run bench:smoke -- --baseline\n`,
    );
    return 0;
  }
  for (const line of noiseNotes(measured.runs)) process.stdout.write(`\n${line}\n`);
  const worse = changes.filter((change) => judge(change) === 'worse');
  const verdict = worse.length === 0 ? 'Nothing got worse beyond noise' : `${worse.length} got worse`;
  process.stdout.write(`\n${verdict}, compared with ${file}.\n`);
  return worse.length === 0 ? 0 : 1;
}

function noiseNotes(runs: readonly RunResult[]): string[] {
  const noisy = runs.filter(({ generator }) => (generator.foreignCores ?? 0) > noisyCores);
  return noisy.length === 0
    ? []
    : [`Other programs used more than ${noisyCores} cores in ${noisy.length} of ${runs.length} runs.`];
}

const marks: Record<Verdict, string> = { worse: 'WORSE ', better: 'better', same: '      ', new: 'new   ' };

function describeChange(change: RatioChange): string {
  const ratio = ({ ratio, lower, upper }: Ratio): string =>
    Number.isFinite(upper)
      ? `${formatNumber(ratio, 2)}x [${formatNumber(lower, 2)}, ${formatNumber(upper, 2)}]`
      : `${formatNumber(ratio, 2)}x`;
  const name = `${change.scenario}, ${metricHeading(change.metric)}`.padEnd(46);
  return `${marks[judge(change)]} ${name} ${ratio(change.before).padEnd(22)} -> ${ratio(change.now)}`;
}

if (isMain(import.meta.url)) {
  process.exitCode = await runSmoke(process.argv.slice(2));
}
