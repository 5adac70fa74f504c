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
import { changesBetween, isDisturbed, judge, type RatioChange, type Verdict } from './regression.js';
import {
  namedResultsFiles,
  readResults,
  resultsFiles,
  unusedResultsFile,
  writeResults,
} from './report/files.js';
import { machineInfo } from './report/machine.js';
import { formatNumber, metricHeading } from './report/metrics.js';
import type { BenchResults, RunResult } from './report/results.js';
import type { LoadOptions } from './scenarios/scenario.js';
import { smokeScenarios } from './scenarios/smoke.js';

const help = `npm run bench:smoke -- [--baseline] [--model FILE] [--requantize TYPE] [--threads 2]

  Runs chairlift and llama-server through three scenarios of some seconds, in turns for as many rounds as fit into
  3 minutes (the build included), and compares the medians of their ratios with those of the last committed results of
  this machine. Exit code 1 when something got worse beyond noise.

  --baseline   write these runs into the results file of this machine: what later runs are compared with (all rounds,
               as long as they take)
  --model FILE, --requantize TYPE   as for bench:peers; default: the quantisation of this machine's baseline
`;

const rounds = 12;
/** No run is started that would end after that; the rounds that are there are compared. */
const budgetMs = 150_000;
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
  const options = { ...defaultOptions(), clients, outputTokens: 24 };
  const threads = Number(flags.threads);
  const binaries = await preparePeers((line) => process.stderr.write(`${line}\n`));
  const modelPath = modelOf(flags, binaries);
  const results = newResults(options, modelPath);
  const peers = selectPeers(['chairlift', 'llama-server']);
  const profile = { modelPath, slots: 32, threads };
  refreshCircumstances(results, peers, binaries, profile);
  const limitMs = flags.baseline ? Number.POSITIVE_INFINITY : budgetMs;
  await compare(
    {
      peers,
      scenarios: smokeScenarios,
      seeds: Array.from({ length: rounds }, (_, index) => index + 1),
      options,
      profile,
      binaries,
      resume: false,
      seedsFirst: true,
      deadlineMs: performance.now() + limitMs,
      quiet: new QuietKeeper(0),
    },
    results,
    flags.baseline ? new AbortController().signal : AbortSignal.timeout(budgetMs + 5_000),
    () => {},
  );
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
  const changes = changesBetween(before, measured);
  const fewest = Math.min(...changes.map(({ now }) => now.count));
  process.stdout.write(
    `\nchairlift / llama-server, above 1 is better for chairlift; median of ${fewest} rounds; then -> now\n`,
  );
  for (const change of changes) process.stdout.write(`${describeChange(change)}\n`);
  for (const line of noiseNotes(measured.runs)) process.stdout.write(`\n${line}\n`);
  if (!baseline) {
    const where = file ?? `results of this machine (${measured.machine.cpu}) and model`;
    process.stdout.write(
      `\nNothing to compare with: no baseline in ${where}. Write one with npm run bench:smoke -- --baseline\n`,
    );
    return 0;
  }
  const worse = changes.filter((change) => judge(change) === 'worse');
  const verdict = worse.length === 0 ? 'Nothing got worse beyond noise' : `${worse.length} got worse`;
  process.stdout.write(`\n${verdict}, compared with ${file}.\n`);
  return worse.length === 0 ? 0 : 1;
}

function noiseNotes(runs: readonly RunResult[]): string[] {
  const disturbed = runs.filter(isDisturbed);
  return disturbed.length === 0
    ? []
    : [
        `Other programs used more than ${noisyCores} cores in ${disturbed.length} of ${runs.length} runs, which are left out.`,
      ];
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
