import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { runClusterSeed } from './cluster/cluster-command.js';
import { describeScenario, drawScenario } from './draw-scenario.js';
import { faultKinds } from './scenario.js';
import { keeping, replayCommand, shrink } from './shrink.js';
import { type SimulationReport, simulate } from './simulation.js';

const help = `npm run sim: the real scheduler on a simulated machine, in simulated time, with faults

  --seed N         which run (default: one by the clock; it is printed)
  --seeds N        that many runs, from --seed on (1)
  --ticks T        ticks with arrivals and faults before everything has to end (300)
  --requests LIST  only these requests take part, as a shrunk run prints them
  --faults LIST    only these faults happen
  --cluster        two workers, perhaps a gateway, and an overflow store that drops out
  --log            print everything that happens
  --plan ...       the capacity planner instead; see --plan --help
`;

const flags = {
  seed: { type: 'string' },
  seeds: { type: 'string', default: '1' },
  ticks: { type: 'string', default: '300' },
  requests: { type: 'string' },
  faults: { type: 'string' },
  log: { type: 'boolean', default: false },
  cluster: { type: 'boolean', default: false },
  help: { type: 'boolean', default: false },
} as const;

const shownLogLines = 60;

interface Run {
  seed: number;
  ticks: number;
  requests: string[] | null;
  faults: string[] | null;
  showsLog: boolean;
}

/** @returns the exit code: 0 all invariants held, 1 one did not, 2 wrong usage */
export async function runSimCommand(argv: readonly string[], write: (text: string) => void): Promise<number> {
  if (argv[0] === '--plan') return await runPlanner(argv.slice(1));
  let values: ReturnType<typeof parse>;
  try {
    values = parse(argv);
  } catch (error) {
    write(`${(error as Error).message}\n\n${help}`);
    return 2;
  }
  if (values.help) {
    write(help);
    return 0;
  }
  const firstSeed = values.seed === undefined ? Date.now() % 1_000_000_000 : Number(values.seed);
  const [count, ticks] = [Number(values.seeds), Number(values.ticks)];
  if (![firstSeed, count, ticks].every((value) => Number.isInteger(value) && value >= 0)) {
    write(`--seed, --seeds and --ticks are whole numbers\n\n${help}`);
    return 2;
  }
  const [requests, faults] = [list(values.requests), list(values.faults)];
  const speeds: number[] = [];
  for (let seed = firstSeed; seed < firstSeed + count; seed += 1) {
    const run = { seed, ticks, requests, faults, showsLog: values.log };
    const speed = values.cluster ? runClusterSeed(run, write) : runSeed(run, write);
    if (speed === null) return 1;
    speeds.push(speed);
  }
  if (count > 1) write(`${describeSpeeds(speeds)}\n`);
  return 0;
}

function parse(argv: readonly string[]) {
  return parseArgs({ args: [...argv], options: flags }).values;
}

function list(text: string | undefined): string[] | null {
  if (text === undefined) return null;
  return text === 'none' ? [] : text.split(',').filter(Boolean);
}

/** @returns simulated seconds per second; null: an invariant did not hold */
function runSeed(run: Run, write: (text: string) => void): number | null {
  const { seed, ticks, requests, faults, showsLog } = run;
  const scenario = drawScenario(seed);
  write(`seed ${seed}: ${describeScenario(scenario)}\n`);
  const startedMs = performance.now();
  const report = simulate(scenario, { ticks, ...keeping(requests, faults), keepsLog: showsLog });
  if (showsLog) write(`${report.log.join('\n')}\n`);
  const tookMs = performance.now() - startedMs;
  write(`${summaryOf(report, tookMs)}\n`);
  if (!report.violation) return report.simulatedMs / tookMs;
  write(explainFailure(report, run));
  return null;
}

function describeSpeeds(speeds: readonly number[]): string {
  const ascending = [...speeds].sort((left, right) => left - right);
  const at = (share: number) => Math.round(ascending[Math.floor(share * (ascending.length - 1))]!);
  return `${speeds.length} seeds, simulated seconds per second: lowest ${at(0)}, a tenth below ${at(0.1)}, median ${at(0.5)}`;
}

/** What failed, the line that replays it, and the log of the smallest run that fails alike. */
export function explainFailure(
  report: SimulationReport,
  { seed, ticks }: Pick<Run, 'seed' | 'ticks'>,
): string {
  const { invariant, message } = report.violation!;
  const shrunk = shrink(report.scenario, report, { ticks });
  return [
    `FAILED seed ${seed}, tick ${report.tick}: ${invariant}: ${message}`,
    `replay: ${replayCommand(seed, ticks)}`,
    `shrunk: ${replayCommand(seed, ticks, shrunk)}`,
    ...shrunk.report.log.slice(-shownLogLines),
    '',
  ].join('\n');
}

function summaryOf(report: SimulationReport, tookMs: number): string {
  const { faults, leavings } = report;
  const byKind = faultKinds
    .map((kind) => `${faults.filter((name) => name.endsWith(`:${kind}`)).length} ${kind}`)
    .filter((text) => !text.startsWith('0 '));
  const operations = Object.entries(report.operations).map(([kind, count]) => `${count} ${kind}`);
  const left = Object.entries(leavings).map(([state, count]) => `${count} ${state}`);
  const simulatedSeconds = report.simulatedMs / 1000;
  return (
    `  ${report.tick} ticks, ${simulatedSeconds.toFixed(1)} simulated seconds in ${tookMs.toFixed(0)} ms: ` +
    `${report.requests.length} requests, ${report.admitted} sequences, ${report.tokens} tokens, ${report.reusedTokens} reused; operations: ${operations.join(', ')}; ` +
    `left while ${left.join(', ')}; faults: ${byKind.join(', ') || 'none'}; hash ${report.hash}`
  );
}

async function runPlanner(argv: readonly string[]): Promise<number> {
  // Built from a variable: the planner is not part of the product's import graph.
  const planner = '../../bench/plan/plan-command.js';
  const { runPlan } = (await import(planner)) as { runPlan(words: readonly string[]): Promise<number> };
  return await runPlan(argv);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  process.exitCode = await runSimCommand(process.argv.slice(2), (text) => {
    process.stdout.write(text);
  });
}
