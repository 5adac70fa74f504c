import { parseArgs } from 'node:util';
import { isMain } from './is-main.js';
import { TargetError } from './load/endpoint.js';
import type { Ratio } from './load/statistics.js';
import { loadFlags, parseLoadOptions, UsageError } from './options.js';
import { newResults, refreshCircumstances } from './peers/circumstances.js';
import { compare } from './peers/comparison.js';
import { PeerError, preparePeers } from './peers/prepare.js';
import { QuietKeeper } from './peers/quiet.js';
import { selectPeers } from './peers/specs.js';
import { findModel } from './peers.js';
import { judge, type RatioChange, type Verdict } from './regression.js';
import { newestResultsFile, readResults, writeResults } from './report/files.js';
import { orientedRatio } from './report/markdown.js';
import { formatNumber, metricHeading } from './report/metrics.js';
import type { BenchResults } from './report/results.js';
import { selectScenarios } from './scenarios/index.js';

const help = `npm run bench:smoke -- [--baseline] [--model FILE] [--threads 2]

  Runs chairlift and llama-server through three short scenarios (under 3 minutes) and compares their ratios with
  those of the last committed results. Exit code 1 when something got worse beyond noise.

  --baseline   write these ratios into the newest results file, as what later runs are compared with
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
  ['interference', 'steadyTotalSeconds'],
] as const;

const seeds = [1, 2, 3];
/** No run is started after that; what is there is compared. */
const budgetMs = 165_000;

const flags = {
  help: { type: 'boolean', short: 'h' },
  baseline: { type: 'boolean' },
  model: { type: 'string' },
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
    const measured = await measure(findModel(values.model), Number(values.threads));
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

async function measure(modelPath: string, threads: number): Promise<BenchResults> {
  const defaults = Object.fromEntries(
    Object.entries(loadFlags).map(([name, flag]) => [name, 'default' in flag ? flag.default : undefined]),
  );
  const options = parseLoadOptions({
    ...defaults,
    seconds: '3',
    'warmup-seconds': '1.5',
    'output-tokens': '32',
  });
  const binaries = await preparePeers((line) => process.stderr.write(`${line}\n`));
  const results = newResults(options, modelPath);
  const peers = selectPeers(['chairlift', 'llama-server']);
  refreshCircumstances(results, peers, binaries, threads);
  const scenarios = selectScenarios([...new Set(keyRatios.map(([scenario]) => scenario))]);
  const profile = { modelPath, slots: 32, threads };
  const stop = AbortSignal.timeout(budgetMs);
  await compare(
    { peers, scenarios, seeds, options, profile, binaries, resume: false, quiet: new QuietKeeper(0) },
    results,
    stop,
    () => {},
  );
  return results;
}

function writeBaseline(measured: BenchResults): number {
  const file = newestResultsFile();
  if (!file)
    throw new UsageError('There are no results to write a baseline into; run npm run bench:peers first.');
  writeResults(file, { ...readResults(file), smoke: measured.runs });
  process.stdout.write(`Wrote the baseline of bench:smoke into ${file}\n`);
  return 0;
}

function report(measured: BenchResults): number {
  const file = newestResultsFile();
  const committed = file ? readResults(file) : undefined;
  const baseline = committed?.smoke ? { ...committed, runs: committed.smoke } : committed;
  const changes = keyRatios.map(([scenario, metric]): RatioChange => {
    const none: Ratio = { ratio: Number.NaN, lower: Number.NaN, upper: Number.NaN, count: 0 };
    const before = baseline ? orientedRatio(baseline, scenario, metric) : none;
    return { scenario, metric, before, now: orientedRatio(measured, scenario, metric) };
  });
  process.stdout.write(
    `\nchairlift / llama-server, above 1 is better for chairlift; before: ${file ?? 'nothing'}\n`,
  );
  if (committed && !committed.smoke) {
    process.stdout.write('(no baseline of short runs in it: compared with its long runs; see --baseline)\n');
  }
  for (const change of changes) process.stdout.write(`${describeChange(change)}\n`);
  const worse = changes.filter((change) => judge(change) === 'worse');
  process.stdout.write(
    worse.length === 0 ? '\nNothing got worse beyond noise.\n' : `\n${worse.length} got worse.\n`,
  );
  return worse.length === 0 ? 0 : 1;
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
