import { describeClusterScenario, drawClusterScenario } from './cluster-scenario.js';
import { type ClusterReport, simulateCluster } from './cluster-simulation.js';

export interface ClusterRun {
  seed: number;
  ticks: number;
  requests: string[] | null;
  faults: string[] | null;
  showsLog: boolean;
}

const shownLogLines = 60;

/** @returns simulated seconds per second; null: an invariant did not hold */
export function runClusterSeed(run: ClusterRun, write: (text: string) => void): number | null {
  const { seed, ticks, requests, faults, showsLog } = run;
  const scenario = drawClusterScenario(seed);
  write(`cluster seed ${seed}: ${describeClusterScenario(scenario)}\n`);
  const startedMs = performance.now();
  const report = simulateCluster(scenario, {
    ticks,
    keepsLog: true,
    keepRequest: (label) => requests?.includes(label) ?? true,
    keepFault: (name) => faults?.includes(name) ?? true,
  });
  const tookMs = performance.now() - startedMs;
  if (showsLog) write(`${report.log.join('\n')}\n`);
  const endings = [...report.endings].map(([ending, count]) => `${count} ${ending}`);
  write(
    `  ${report.tick} ticks, ${(report.simulatedMs / 1000).toFixed(1)} simulated seconds in ${tookMs.toFixed(0)} ms: ` +
      `${report.requests.length} requests, ${report.tokens} tokens, ${report.stored} through the store, ${report.retries} taken again; ` +
      `${endings.join(', ')}; ${report.faults.length} faults; hash ${report.hash}\n`,
  );
  if (!report.violation) return report.simulatedMs / tookMs;
  write(explainClusterFailure(report, ticks));
  return null;
}

/** What failed, the line that replays it, and the end of the log if it was kept. */
export function explainClusterFailure(
  { scenario, violation, tick, log }: ClusterReport,
  ticks: number,
): string {
  return [
    `FAILED cluster seed ${scenario.seed}, tick ${tick}: ${violation!.invariant}: ${violation!.message}`,
    `replay: npm run sim -- --cluster --seed ${scenario.seed} --ticks ${ticks}`,
    ...log.slice(-shownLogLines),
    '',
  ].join('\n');
}
