import type { BenchResults, RunResult } from '../report/results.js';
import type { LoadOptions, Scenario } from '../scenarios/scenario.js';
import type { PeerSpec } from './specs.js';

/** `--seconds` for which the scenarios' official windows are meant. */
export const nominalSeconds = 12;
/** Start of a server, its own calibration and the probes of its features. */
const startSeconds = 6;

export interface PlannedRun {
  scenario: Scenario;
  seed: number;
  peer: PeerSpec;
  options: LoadOptions;
  /** By earlier runs of the same kind, else by the scenario's own estimate. */
  expectedSeconds: number;
}

export interface ScheduleRequest {
  peers: readonly PeerSpec[];
  scenarios: readonly Scenario[];
  seeds: readonly number[];
  options: LoadOptions;
  /** Leave out what the results already hold. */
  resume: boolean;
  /** All scenarios with the first seed before any with the second, for runs that may be cut short. */
  seedsFirst?: boolean;
}

/**
 * Everything to be measured, in order: scenarios whose servers take the same flags together, and inside a scenario the
 * peers in rounds A B C, C B A, A B C over the seeds.
 */
export function scheduleOf(request: ScheduleRequest, results: BenchResults): PlannedRun[] {
  const windows = [...new Set(request.scenarios.map(({ contextTokens }) => contextTokens))];
  const ordered = windows.flatMap((tokens) =>
    request.scenarios.filter(({ contextTokens }) => contextTokens === tokens),
  );
  const runs = ordered.flatMap((scenario) => roundsOf(request, scenario, results));
  return request.seedsFirst ? runs.sort((a, b) => a.seed - b.seed) : runs;
}

function roundsOf(request: ScheduleRequest, scenario: Scenario, results: BenchResults): PlannedRun[] {
  const options = officialOptions(request.options, scenario);
  return request.seeds.flatMap((seed, round) => {
    const peers = request.peers.filter((peer) => takesPart(peer, scenario, round));
    return (round % 2 === 0 ? peers : [...peers].reverse())
      .map((peer) => ({
        scenario,
        seed,
        peer,
        options,
        expectedSeconds: expected(results, scenario, peer, options),
      }))
      .filter((run) => !(request.resume && results.runs.some((kept) => isSameRun(kept, run))));
  });
}

/** @param round index of the seed */
export function takesPart(
  { scenarios, exceptScenarios, allSeedsIn }: PeerSpec,
  { name }: Scenario,
  round: number,
): boolean {
  if (scenarios?.includes(name) === false || exceptScenarios?.includes(name)) return false;
  return round === 0 || allSeedsIn === undefined || allSeedsIn.includes(name);
}

function isSameRun(kept: RunResult, { scenario, seed, peer, options }: PlannedRun): boolean {
  return (
    kept.scenario === scenario.name &&
    kept.subject === peer.name &&
    kept.seed === seed &&
    kept.incomplete === undefined &&
    kept.seconds === options.seconds
  );
}

/** The window of the official table, scaled when `--seconds` is not the nominal one; warm-ups shrink less. */
export function officialOptions(options: LoadOptions, { official, contextTokens }: Scenario): LoadOptions {
  const scale = options.seconds / nominalSeconds;
  return {
    ...options,
    contextTokens,
    seconds: Math.max(0.5, Number((official.seconds * scale).toFixed(2))),
    warmupSeconds: Number((official.warmupSeconds * Math.min(1, Math.sqrt(scale))).toFixed(2)),
  };
}

function expected(results: BenchResults, scenario: Scenario, peer: PeerSpec, options: LoadOptions): number {
  const known = results.runs.filter(
    (run) => run.scenario === scenario.name && run.subject === peer.name && run.seconds === options.seconds,
  );
  const longest = Math.max(0, ...known.map(({ elapsedSeconds = 0 }) => elapsedSeconds));
  return longest || scenario.expectedSeconds(options);
}

/** Seconds of all runs and of the server starts between them. */
export function expectedTotalSeconds(runs: readonly PlannedRun[]): number {
  const servers = new Set(runs.map(({ peer, scenario }) => `${peer.name} ${scenario.contextTokens}`));
  return runs.reduce((total, { expectedSeconds }) => total + expectedSeconds, servers.size * startSeconds);
}

/** One line per scenario: who, how often, how long. */
export function describeSchedule(runs: readonly PlannedRun[]): string {
  const names = [...new Set(runs.map(({ scenario }) => scenario.name))];
  const lines = names.map((name) => {
    const own = runs.filter(({ scenario }) => scenario.name === name);
    const counts = [...new Set(own.map(({ peer }) => peer.name))].map(
      (peer) => `${peer} x${own.filter((run) => run.peer.name === peer).length}`,
    );
    const { seconds, warmupSeconds } = own[0]!.options;
    const minutes = own.reduce((total, { expectedSeconds }) => total + expectedSeconds, 0) / 60;
    return `  ${name.padEnd(24)} ${minutes.toFixed(1).padStart(5)} min  ${seconds} s after ${warmupSeconds} s: ${counts.join(', ')}`;
  });
  const total = expectedTotalSeconds(runs) / 60;
  return [`${runs.length} runs, about ${total.toFixed(0)} minutes:`, ...lines].join('\n');
}
