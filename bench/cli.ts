import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { isMain } from './is-main.js';
import { TargetError } from './load/endpoint.js';
import { openTarget, type Target } from './load/target.js';
import { loadFlags, parseLoadOptions, parseSeeds, splitList, UsageError } from './options.js';
import { measureOverhead } from './overhead.js';
import { renderHtml } from './report/html.js';
import { machineInfo } from './report/machine.js';
import { ProgressLine } from './report/progress.js';
import type { BenchResults } from './report/results.js';
import { renderTextTable, scenarioTable } from './report/tables.js';
import { scenarios, selectScenarios } from './scenarios/index.js';
import { runScenario } from './scenarios/run-scenario.js';
import type { Scenario } from './scenarios/scenario.js';

const help = `chairlift bench: how much can an OpenAI-compatible server carry?

  chairlift bench --url http://127.0.0.1:8080 [--scenario throughput,single] [--html report.html]

  --url URL              the server; the part before /v1 (required)
  --scenario LIST        names, families or "all" (default: throughput)
                         ${scenarios.map(({ name }) => name).join(', ')}
  --model NAME           default: the first one of /v1/models
  --api-key KEY          or the environment variable OPENAI_API_KEY
  --api KIND             completions or chat (default: completions, chat when the server has no other)
  --seeds N|LIST         3 means seeds 1, 2, 3 (default); fewer than 3 give no interval worth the name
  --clients N            closed-loop clients (32)
  --seconds N            measured part of each run (12), after --warmup-seconds N (3)
  --prompt-tokens N      about that many in (64); --output-tokens N out (48)
  --lengths KIND         fixed, spread (+-25%, default) or lognormal (as in real conversations)
  --ttft-target-ms N     a good request has its first token by then (2000) and
  --itl-target-ms N      no gap between tokens above this (250)
  --capacity-rps N       closed-loop capacity, for rate-sweep and overload; measured when absent
  --temperature N        0 (default) is greedy
  --overhead             also measure the load generator itself against a fake server
  --json FILE            everything measured, as JSON
  --html FILE            a self-contained page with tables and plots
`;

const flags = {
  ...loadFlags,
  help: { type: 'boolean', short: 'h' },
  url: { type: 'string' },
  scenario: { type: 'string', default: 'throughput' },
  model: { type: 'string' },
  'api-key': { type: 'string' },
  api: { type: 'string' },
  seeds: { type: 'string', default: '3' },
  temperature: { type: 'string', default: '0' },
  overhead: { type: 'boolean' },
  json: { type: 'string' },
  html: { type: 'string' },
} as const;

/**
 * The load test as a command.
 * @param argv arguments after the command's name
 * @returns exit code: 0 done, 1 the target failed (what was measured until then is still reported), 2 wrong usage
 */
export async function runBench(argv: string[]): Promise<number> {
  try {
    const plan = readPlan(argv);
    if (plan === 'help') {
      process.stdout.write(help);
      return 0;
    }
    return await execute(plan);
  } catch (error) {
    if (!(error instanceof UsageError || error instanceof TargetError || error instanceof RangeError))
      throw error;
    process.stderr.write(`${error.message}\n`);
    return error instanceof TargetError ? 1 : 2;
  }
}

function readPlan(argv: string[]) {
  const values = parse(argv);
  if (values.help) return 'help';
  if (!values.url) throw new UsageError('--url is missing; try --url http://127.0.0.1:8080, or --help.');
  if (values.api !== undefined && values.api !== 'completions' && values.api !== 'chat') {
    throw new UsageError(`--api must be completions or chat, got "${values.api}".`);
  }
  const temperature = Number(values.temperature);
  if (!(temperature >= 0))
    throw new UsageError(`--temperature must be 0 or more, got "${values.temperature}".`);
  return {
    target: {
      url: values.url,
      model: values.model,
      apiKey: values['api-key'] ?? process.env.OPENAI_API_KEY,
      api: values.api as 'completions' | 'chat' | undefined,
      temperature,
    },
    options: parseLoadOptions(values),
    scenarios: selectScenarios(splitList(values.scenario)),
    seeds: parseSeeds(values.seeds),
    withOverhead: values.overhead ?? false,
    jsonFile: values.json,
    htmlFile: values.html,
  };
}

type Plan = Exclude<ReturnType<typeof readPlan>, 'help'>;

function parse(argv: string[]) {
  try {
    return parseArgs({ args: argv, options: flags }).values;
  } catch (error) {
    throw new UsageError(`${(error as Error).message} (--help lists the flags)`);
  }
}

async function execute(plan: Plan): Promise<number> {
  const progress = new ProgressLine();
  const target = await openTarget(plan.target);
  progress.print(describeTarget(target));
  const results = emptyResults(plan, target);
  const stop = new AbortController();
  const onInterrupt = (): void => {
    if (stop.signal.aborted) process.exit(130);
    progress.print('Stopping; press Ctrl-C again to leave at once.');
    stop.abort();
  };
  process.on('SIGINT', onInterrupt);
  let failure: string | undefined;
  try {
    if (plan.withOverhead) results.overhead = await measureOverhead();
    failure = await runAll(plan, target, results, stop.signal, progress);
  } finally {
    process.off('SIGINT', onInterrupt);
    progress.stop();
    target.endpoint.agent.destroy();
    results.updatedAt = new Date().toISOString();
    writeFiles(plan, results, progress);
  }
  if (failure) process.stderr.write(`${failure}\n`);
  return failure ? 1 : 0;
}

/** @returns what ended the runs early, if anything */
async function runAll(
  plan: Plan,
  target: Target,
  results: BenchResults,
  signal: AbortSignal,
  progress: ProgressLine,
): Promise<string | undefined> {
  for (const scenario of plan.scenarios) {
    let failure: string | undefined;
    for (const seed of plan.seeds) {
      failure = await runOnce(scenario, seed, plan, target, results, signal, progress);
      if (failure) break;
    }
    printTable(results, scenario);
    if (failure) return failure;
  }
  return undefined;
}

async function runOnce(
  scenario: Scenario,
  seed: number,
  plan: Plan,
  target: Target,
  results: BenchResults,
  signal: AbortSignal,
  progress: ProgressLine,
): Promise<string | undefined> {
  try {
    const run = await runScenario({
      subject: 'target',
      scenario,
      target,
      options: plan.options,
      seed,
      signal,
      onStart: (state) => progress.start(`${scenario.name}, seed ${seed}`, state),
    });
    results.runs.push(run);
    return run.incomplete;
  } catch (error) {
    if (error instanceof TargetError) return error.message;
    throw error;
  } finally {
    progress.stop();
  }
}

function printTable(results: BenchResults, scenario: Scenario): void {
  const table = scenarioTable(results, scenario);
  if (table.rows.length === 0) return;
  process.stdout.write(`\n${scenario.title}\n${renderTextTable(table, '')}\n`);
}

function describeTarget({ endpoint, features }: Target): string {
  const lines = [`${endpoint.baseUrl}: model "${features.model}", /v1/${features.api}`];
  if (!features.reportsUsage)
    lines.push('  ! reports no usage: tokens are counted as chunks, prompt lengths are a guess');
  else if (!features.calibratedPrompts)
    lines.push('  ! its token counts do not add up: prompt lengths are a guess');
  if (!features.acceptsIgnoreEos)
    lines.push('  ! does not take ignore_eos: replies may be shorter than asked');
  return lines.join('\n');
}

function emptyResults(plan: Plan, target: Target): BenchResults {
  const now = new Date().toISOString();
  const { features, endpoint } = target;
  return {
    format: 2,
    createdAt: now,
    updatedAt: now,
    machine: machineInfo(),
    model: { name: features.model },
    versions: {},
    options: plan.options,
    subjects: [
      {
        name: 'target',
        label: endpoint.baseUrl.replace(/^https?:\/\//, ''),
        description: 'The server under test; the machine above is the one of the load generator.',
        commands: [],
        version: features.server,
        features: { ...features },
      },
    ],
    runs: [],
  };
}

function writeFiles(plan: Plan, results: BenchResults, progress: ProgressLine): void {
  if (plan.jsonFile) {
    writeFileSync(plan.jsonFile, `${JSON.stringify(results, null, 1)}\n`);
    progress.print(`Wrote ${plan.jsonFile}`);
  }
  if (plan.htmlFile) {
    writeFileSync(plan.htmlFile, renderHtml(results));
    progress.print(`Wrote ${plan.htmlFile}`);
  }
}

if (isMain(import.meta.url)) {
  process.exitCode = await runBench(process.argv.slice(2));
}
