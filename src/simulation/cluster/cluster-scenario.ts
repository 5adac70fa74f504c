import type { PriorityClass } from '../../../scheduler/index.js';
import { drawScenario } from '../draw-scenario.js';
import { Random } from '../random.js';
import { faultKinds, type Scenario } from '../scenario.js';

export const clusterFaultKinds = [
  /** Redis is gone: connections are refused. */
  'store-down',
  /** Redis is not heard of: commands and answers are lost, which is noticed late. */
  'store-silent',
  'slow-store',
  'worker-killed',
  /** SIGSTOP and SIGCONT, mostly past its lock. */
  'worker-paused',
  'gateway-killed',
] as const;
export type ClusterFaultKind = (typeof clusterFaultKinds)[number];

export interface ClusterFault {
  kind: ClusterFaultKind;
  name: string;
  /** Chooses whom it hits. */
  draw: number;
  durationMs: number;
}

/** Constants of `src/overflow`, in proportion to the ticks of this machine. Milliseconds. */
export interface ClusterTimes {
  tickMs: number;
  /** To the store, and back. */
  latencyMs: number;
  commandTimeoutMs: number;
  lockMs: number;
  beatMs: number;
  /** Silence after which a process counts as gone, with its clients. */
  goneMs: number;
  lookAgainMs: number;
  restMs: number;
  auditMs: number;
  frameMs: number;
  retryMs: number;
  /** From a kill to the next start. */
  restartMs: number;
  faultGapMs: number;
}

/** Two workers, perhaps a gateway, one overflow store; everything follows from the seed. */
export interface ClusterScenario {
  seed: number;
  /** Of each worker, with its traffic; free of faults of its own. */
  worker: Scenario;
  hasGateway: boolean;
  maxOverflow: number;
  targetWaitMs: Record<PriorityClass, number>;
  times: ClusterTimes;
  /** Chance of a fault of each kind, per `faultGapMs`. */
  faultShares: Record<ClusterFaultKind, number>;
}

export function drawClusterScenario(seed: number): ClusterScenario {
  const random = new Random(seed, 'cluster');
  const drawn = drawScenario(seed);
  const { config, traffic, cost } = drawn;
  const tickMs = cost.perPassMs * 2 + (cost.perTokenMs * (config.slotCount + config.batchTokens)) / 2;
  const shares = Object.fromEntries(faultKinds.map((kind) => [kind, 0])) as Scenario['faults']['shares'];
  const worker: Scenario = {
    ...drawn,
    clock: { resolutionMs: 0, startMs: 0 },
    traffic: { ...traffic, meanGapMs: traffic.meanGapMs / random.pick([2, 4]), followUpShare: 0 },
    faults: { shares, outageShare: 0 },
  };
  const isCalm = random.chance(1 / 4);
  const share = () => (isCalm ? 0 : random.pick([0, 0.1, 0.3]));
  const interactiveMs = tickMs * random.pick([5, 20, 100]);
  return {
    seed,
    worker,
    hasGateway: random.chance(0.5),
    maxOverflow: random.pick([1, 4, 20, 1000]),
    targetWaitMs: { interactive: interactiveMs, standard: interactiveMs * 5, batch: interactiveMs * 30 },
    times: {
      tickMs,
      latencyMs: tickMs * random.pick([0.01, 0.1, 0.5]),
      commandTimeoutMs: tickMs * 10,
      lockMs: tickMs * random.pick([8, 20]),
      beatMs: tickMs * 3,
      goneMs: tickMs * 20,
      lookAgainMs: tickMs * 4,
      restMs: tickMs,
      auditMs: tickMs * 12,
      frameMs: tickMs * random.pick([0, 0.5, 3]),
      retryMs: tickMs * 2,
      restartMs: tickMs * 10,
      faultGapMs: tickMs * 8,
    },
    faultShares: Object.fromEntries(clusterFaultKinds.map((kind) => [kind, share()])) as Record<
      ClusterFaultKind,
      number
    >,
  };
}

/** What goes wrong in this stretch of time; mostly nothing. */
export function drawClusterFaults({ seed, faultShares, times }: ClusterScenario, stretch: number) {
  const random = new Random(seed, `cluster fault ${stretch}`);
  return clusterFaultKinds.flatMap((kind): ClusterFault[] => {
    const [isDrawn, draw, long] = [
      random.chance(faultShares[kind]),
      random.nextUint32(),
      random.pick([3, 15, 40]),
    ];
    return isDrawn ? [{ kind, name: `${stretch}:${kind}`, draw, durationMs: long * times.tickMs }] : [];
  });
}

export function describeClusterScenario({ worker, ...scenario }: ClusterScenario): string {
  const { config, traffic } = worker;
  const { times, faultShares, hasGateway, maxOverflow, targetWaitMs } = scenario;
  const kinds = clusterFaultKinds.filter((kind) => faultShares[kind] > 0);
  return [
    `2 workers${hasGateway ? ' and a gateway' : ''}, ${config.slotCount} slots of ${config.contextTokens} tokens, line ${config.maxWaiting}`,
    `store ${maxOverflow}, target ${targetWaitMs.interactive.toFixed(0)} ms, tick ${times.tickMs.toFixed(1)} ms, lock ${times.lockMs.toFixed(0)} ms, latency ${times.latencyMs.toFixed(1)} ms`,
    `a request every ${traffic.meanGapMs.toFixed(1)} ms, tenants ${traffic.tenantWeights.join(':')}, classes ${traffic.classWeights.join(':')}`,
    `faults: ${kinds.join(', ') || 'none'}`,
  ].join('; ');
}
