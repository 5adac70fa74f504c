import type { Scenario } from './scenario.js';
import { type SimulationOptions, type SimulationReport, simulate } from './simulation.js';

/** The smallest run found that still breaks the same invariant. */
export interface ShrunkRun {
  report: SimulationReport;
  ticks: number;
  requests: readonly string[];
  faults: readonly string[];
}

const mostRuns = 400;

/**
 * Leaves out requests, then faults, in ever smaller pieces, as long as the same invariant breaks (delta debugging,
 * Zeller and Hildebrandt 2002). Since every request and fault is drawn from its own stream, the rest stays as it was.
 */
export function shrink(
  scenario: Scenario,
  failed: SimulationReport,
  options: Pick<SimulationOptions, 'createScheduler' | 'ticks'>,
): ShrunkRun {
  const invariant = failed.violation!.invariant;
  // Arrivals end a little after the failure, unless it happened when everything had to end.
  const ticks = Math.min(options.ticks, failed.tick + 1);
  let runs = 0;
  const attempt = (requests: readonly string[], faults: readonly string[]): SimulationReport | null => {
    runs += 1;
    const report = simulate(scenario, { ...options, ticks, ...keeping(requests, faults), keepsLog: true });
    return report.violation?.invariant === invariant ? report : null;
  };
  let best = attempt(failed.requests, failed.faults) ?? failed;
  let { requests, faults } = best;
  requests = smallest(requests, (candidate) => {
    const report = runs < mostRuns ? attempt(candidate, faults) : null;
    if (report) best = report;
    return report !== null;
  });
  faults = smallest(faults, (candidate) => {
    const report = runs < mostRuns ? attempt(requests, candidate) : null;
    if (report) best = report;
    return report !== null;
  });
  return { report: best, ticks, requests, faults };
}

export function keeping(
  requests: readonly string[] | null,
  faults: readonly string[] | null,
): Pick<SimulationOptions, 'keepRequest' | 'keepFault'> {
  const keptRequests = requests && new Set(requests);
  const keptFaults = faults && new Set(faults);
  return {
    keepRequest: (label) => keptRequests?.has(label) ?? true,
    keepFault: (name) => keptFaults?.has(name) ?? true,
  };
}

/** @param fails whether a part of the list is enough */
function smallest(
  items: readonly string[],
  fails: (candidate: readonly string[]) => boolean,
): readonly string[] {
  let kept = items;
  if (kept.length > 0 && fails([])) return [];
  for (let size = Math.ceil(kept.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let start = 0; start < kept.length; ) {
      const without = [...kept.slice(0, start), ...kept.slice(start + size)];
      if (fails(without)) kept = without;
      else start += size;
    }
  }
  return kept;
}

/** One line that replays a run. */
export function replayCommand(seed: number, ticks: number, run?: ShrunkRun): string {
  const flags = [`--seed ${seed}`, `--ticks ${run?.ticks ?? ticks}`];
  if (run)
    flags.push(
      `--requests ${run.requests.join(',') || 'none'}`,
      `--faults ${run.faults.join(',') || 'none'}`,
    );
  return `npm run sim -- ${flags.join(' ')}`;
}
