import { sleep } from '../load/drivers.js';
import { estimate } from '../load/statistics.js';
import { ProgressLine } from '../report/progress.js';
import { type BenchResults, mergeRuns, type RunResult, runsOf } from '../report/results.js';
import { runScenario } from '../scenarios/run-scenario.js';
import type { LoadOptions, Scenario } from '../scenarios/scenario.js';
import type { PeerBinaries } from './prepare.js';
import type { QuietKeeper } from './quiet.js';
import { describeSchedule, type PlannedRun, scheduleOf } from './schedule.js';
import { commandLine, freePort, ServerProcess } from './server-process.js';
import type { PeerSpec, ServerProfile } from './specs.js';

export interface ComparisonPlan {
  peers: readonly PeerSpec[];
  scenarios: readonly Scenario[];
  seeds: readonly number[];
  options: LoadOptions;
  profile: Omit<ServerProfile, 'contextTokens'>;
  binaries: PeerBinaries;
  /** Leave out what the results already hold. */
  resume: boolean;
  seedsFirst?: boolean;
  /** No run is started that would not end by then, in ms of `performance.now()`. */
  deadlineMs: number;
  quiet: QuietKeeper;
}

/** Scenarios whose rates must be the same for all servers, so that they need a capacity first. */
const ratedScenarios = new Set(['rate-sweep', 'overload', 'batch-under-interactive']);
const mostAttempts = 3;
const capacitySubject = 'llama-server';

/**
 * Runs all peers through all scenarios, one server at work at a time, in the order of the schedule.
 * @param save is called after every run, so that an interruption costs one run
 * @returns how many runs were not made, because of the signal, the deadline or a server that failed
 */
export async function compare(
  plan: ComparisonPlan,
  results: BenchResults,
  signal: AbortSignal,
  save: () => void,
): Promise<number> {
  const progress = new ProgressLine();
  const schedule = scheduleOf(plan, results);
  progress.print(describeSchedule(schedule));
  let fleet: Fleet | undefined;
  let done = 0;
  try {
    for (const [index, planned] of schedule.entries()) {
      if (signal.aborted || performance.now() + planned.expectedSeconds * 1000 > plan.deadlineMs) break;
      if (fleet?.contextTokens !== planned.scenario.contextTokens) {
        await fleet?.stop();
        fleet = new Fleet(plan, planned.scenario.contextTokens, results, progress);
      }
      progress.print(`[${index + 1}/${schedule.length}]`);
      const run = await runInQuiet(plan, withCapacity(planned, results), fleet, signal, progress);
      if (!run || signal.aborted) continue;
      const version = run.subject === 'chairlift' ? results.versions.chairlift : undefined;
      results.runs = mergeRuns(results.runs, [version === undefined ? run : { ...run, version }]);
      save();
      done += 1;
    }
  } finally {
    await fleet?.stop();
  }
  return schedule.length - done;
}

/** A run that others disturbed is repeated while there is patience left; the quietest one is kept. */
async function runInQuiet(
  plan: ComparisonPlan,
  ...args: Parameters<typeof runOnPeer>
): Promise<RunResult | undefined> {
  const [, , signal, progress] = args;
  let best: RunResult | undefined;
  for (let attempt = 0; attempt < mostAttempts && !signal.aborted; attempt += 1) {
    await plan.quiet.wait(signal, (line) => progress.print(line));
    const run = await runWithRestart(...args);
    const isQuieter = (run?.generator.foreignCores ?? 0) < (best?.generator.foreignCores ?? 0);
    if (run && (!best || isQuieter)) best = run;
    if (!plan.quiet.isTooNoisy(run?.generator.foreignCores)) break;
  }
  return best;
}

/** A server that died is started once more: what killed it may have been meant for another process. */
async function runWithRestart(...args: Parameters<typeof runOnPeer>): Promise<RunResult | undefined> {
  const [{ peer }, fleet, signal, progress] = args;
  const run = await runOnPeer(...args);
  if ((run && !run.incomplete) || signal.aborted) return run;
  await sleep(500);
  const ending = fleet.endingOf(peer);
  if (ending === undefined) return run;
  progress.print(`! ${peer.label} ${ending}; trying once more`);
  return (await runOnPeer(...args)) ?? run;
}

async function runOnPeer(
  { scenario, seed, peer, options }: PlannedRun,
  fleet: Fleet,
  signal: AbortSignal,
  progress: ProgressLine,
): Promise<RunResult | undefined> {
  try {
    const server = await fleet.server(peer);
    const run = await runScenario({
      subject: peer.name,
      scenario,
      target: server.target,
      options,
      seed,
      signal,
      serverPid: server.pid,
      onStart: (state) => progress.start(`${scenario.name} · ${peer.label} · seed ${seed}`, state),
    });
    progress.stop();
    progress.print(describeRun(run, scenario, peer));
    return run;
  } catch (error) {
    progress.stop();
    progress.print(`! ${scenario.name} · ${peer.label} · seed ${seed}: ${(error as Error).message}`);
    return undefined;
  }
}

function describeRun(run: RunResult, scenario: Scenario, peer: PeerSpec): string {
  const figures = scenario.headline
    .slice(0, 4)
    .filter((key) => Number.isFinite(run.metrics[key]))
    .map((key) => `${key} ${Number((run.metrics[key] as number).toPrecision(4))}`);
  const foreign = run.generator.foreignCores;
  const noise = foreign !== undefined && foreign > 0.2 ? ` (others used ${foreign.toFixed(1)} cores)` : '';
  const cut = run.incomplete ? ` CUT SHORT: ${run.incomplete}` : '';
  return `${scenario.name} · ${peer.label} · seed ${run.seed}: ${figures.join(', ')}${noise}${cut}`;
}

/** The capacity is that of the reference server in `throughput`, and stays the same once it is in the results. */
function withCapacity(planned: PlannedRun, results: BenchResults): PlannedRun {
  if (!ratedScenarios.has(planned.scenario.name)) return planned;
  const known = planned.options.capacityRequestsPerSecond ?? results.options.capacityRequestsPerSecond;
  const measured = estimate(
    runsOf(results, 'throughput', capacitySubject).map(
      ({ metrics }) =>
        (metrics.generatedTokensPerSecond ?? Number.NaN) / (metrics.meanOutputTokens ?? Number.NaN),
    ),
  ).mean;
  const capacity = known ?? (Number.isFinite(measured) ? Number(measured.toPrecision(3)) : undefined);
  if (capacity === undefined) return planned;
  results.options.capacityRequestsPerSecond = capacity;
  return { ...planned, options: { ...planned.options, capacityRequestsPerSecond: capacity } };
}

/** The servers of one profile: started when first needed, restarted when they died. */
class Fleet {
  readonly contextTokens: number;
  private readonly running = new Map<string, ServerProcess>();
  private readonly plan: ComparisonPlan;
  private readonly profile: ServerProfile;
  private readonly results: BenchResults;
  private readonly progress: ProgressLine;

  constructor(plan: ComparisonPlan, contextTokens: number, results: BenchResults, progress: ProgressLine) {
    this.contextTokens = contextTokens;
    this.plan = plan;
    this.profile = { ...plan.profile, contextTokens };
    this.results = results;
    this.progress = progress;
  }

  async server(peer: PeerSpec): Promise<ServerProcess> {
    const known = this.running.get(peer.name);
    if (known?.isAlive) return known;
    const port = await freePort();
    const command = peer.start(this.profile, port, this.plan.binaries);
    this.progress.print(
      `starting ${peer.label} (${this.profile.slots} x ${this.profile.contextTokens} tokens)`,
    );
    const started = await ServerProcess.start(peer.label, command, port);
    this.running.set(peer.name, started);
    this.noteCommand(peer, commandLine(command, port));
    return started;
  }

  /** How a started server ended; undefined while it runs. */
  endingOf(peer: PeerSpec): string | undefined {
    return this.running.get(peer.name)?.ending;
  }

  async stop(): Promise<void> {
    for (const server of this.running.values()) await server.stop();
    this.running.clear();
  }

  private noteCommand(peer: PeerSpec, line: string): void {
    const subject = this.results.subjects.find(({ name }) => name === peer.name);
    if (subject && !subject.commands.includes(line)) subject.commands.push(line);
  }
}
