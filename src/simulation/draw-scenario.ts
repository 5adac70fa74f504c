import type { SchedulerConfig, SchedulingPolicy } from '../../scheduler/index.js';
import { Random } from './random.js';
import {
  type FaultKind,
  type FaultPlan,
  faultKinds,
  type NoisyCost,
  type Scenario,
  type Traffic,
} from './scenario.js';
import { endToken } from './simulated-text.js';

/** Small machines with small windows: the rarer a collision, the less the simulation finds. */
export function drawScenario(seed: number): Scenario {
  const random = new Random(seed, 'scenario');
  const slotCount = random.pick([1, 2, 3, 4, 4, 6, 8, 13]);
  const contextTokens = random.pick([32, 64, 96, 160]);
  const config = {
    slotCount,
    contextTokens,
    batchTokens: Math.max(slotCount, random.pick([slotCount, slotCount + 1, 16, 24, 40, 64])),
    maxWaiting: random.pick([0, 1, 4, 16, 64]),
    maxWaitingTokens: random.pick([contextTokens, 400, 4000]),
    endTokens: new Set([endToken]),
    snapshotBytes: random.pick([0, 30_000, 300_000]),
    reusePrefixes: random.chance(0.9),
    operationCosts: drawOperationCosts(random),
  };
  const cost = drawCost(random, config);
  const meanTickMs = cost.perPassMs * 2 + (cost.perTokenMs * (slotCount + config.batchTokens)) / 2;
  const meanLengthTokens = random.pick([8, 25, 400]);
  return {
    seed,
    config,
    policy: drawPolicy(random, meanTickMs),
    cost,
    meanLengthTokens,
    clock: { resolutionMs: random.pick([0, 0, 1, 16, 250]), startMs: random.pick([0, 0.5, 3_600_000]) },
    traffic: drawTraffic(random, contextTokens, slotCount, meanTickMs, meanLengthTokens),
    faults: drawFaultPlan(random),
  };
}

/**
 * A call in which every slot decodes takes as long as on a GPU, with a 135M model on two cores, with a 1B or
 * an 8B model there: 10 ms, 70 ms, 300 ms, 2 s. What it is made of differs as well.
 */
function drawCost(random: Random, { slotCount, contextTokens }: SchedulerConfig): NoisyCost {
  const fullDecodeMs = random.pick([10, 70, 300, 2000]);
  const passShare = random.pick([0.1, 0.4, 0.9]);
  return {
    perPassMs: fullDecodeMs * passShare,
    perTokenMs: (fullDecodeMs * (1 - passShare)) / slotCount,
    perContextTokenMs: (fullDecodeMs * random.pick([0, 0.1, 1])) / (slotCount * contextTokens),
    noiseSigma: random.pick([0, 0.05, 0.3]),
  };
}

/** Cheap operations make copies and snapshots pay in small windows too. */
function drawOperationCosts(random: Random): NonNullable<SchedulerConfig['operationCosts']> {
  return {
    copyMs: random.pick([0.1, 1, 8, 100]),
    fileMs: random.pick([0.01, 0.1, 1]),
    saveMsPerToken: random.pick([0.001, 0.012]),
    restoreMsPerToken: random.pick([0.001, 0.008]),
  };
}

function drawPolicy(random: Random, meanTickMs: number): SchedulingPolicy {
  const ttftTargetMs = meanTickMs * random.pick([1, 10, 100]);
  return {
    itlTargetMs: random.pick([0, 0, null, meanTickMs, meanTickMs * 3]),
    ttftTargetsMs: { interactive: ttftTargetMs, standard: ttftTargetMs * 5, batch: ttftTargetMs * 100 },
    threadChoices: random.pick([[1], [1], [1, 2]]),
  };
}

function drawTraffic(
  random: Random,
  contextTokens: number,
  slotCount: number,
  meanTickMs: number,
  meanLengthTokens: number,
): Traffic {
  const longestPrompt = Math.floor(contextTokens * random.pick([0.2, 0.6, 0.95]));
  const mostNewTokens = Math.floor(contextTokens * random.pick([0.1, 0.3, 0.6]));
  const loadFactor = random.pick([0.2, 0.8, 1.3, 4]);
  const serviceMs = meanTickMs * (1 + Math.min(mostNewTokens / 2, meanLengthTokens));
  return {
    meanGapMs: serviceMs / slotCount / loadFactor,
    burstShare: random.pick([0, 0.2, 0.8]),
    burstSize: random.integer(2, 12),
    tenantWeights: random.pick([[1], [1, 1], [12, 1], [8, 2, 1, 1]]),
    classWeights: random.pick([
      [1, 0, 0],
      [0, 1, 0],
      [2, 3, 2],
      [6, 1, 1],
    ]),
    promptTokens: [1, Math.max(1, longestPrompt)],
    newTokens: [1, Math.max(1, mostNewTokens)],
    alphabetTokens: random.pick([1, 2, 2, 50]),
    sharedPrefix: {
      share: random.pick([0, 0.4, 0.9]),
      families: random.integer(1, 3),
      tokens: random.integer(10, Math.max(10, longestPrompt)),
    },
    choicesShare: random.pick([0, 0.1]),
    deadlineShare: random.pick([0, 0.3]),
    deadlineMs: [0, Math.ceil(serviceMs * 2)],
    ignoreEndTokenShare: random.pick([0, 0.5]),
    leaveShare: random.pick([0, 0.2, 0.6]),
    stopShare: random.pick([0, 0.3]),
    slowReaderShare: random.pick([0, 0.3]),
    readerLagMs: meanTickMs * random.pick([0.5, 3, 40]),
    followUpShare: random.pick([0, 0.5]),
    ownSaltShare: random.pick([0, 0, 0.5]),
  };
}

/** Every third seed runs on a machine without faults: there the strictest invariants hold. */
function drawFaultPlan(random: Random): FaultPlan {
  const isCalm = random.chance(1 / 3);
  const share = () => (isCalm ? 0 : random.pick([0, 0.005, 0.03, 0.1]));
  const shares = Object.fromEntries(faultKinds.map((kind) => [kind, share()])) as Record<FaultKind, number>;
  return { shares, outageShare: isCalm ? 0 : random.pick([0, 0, 0.1]) };
}

/** The scenario in one line, for people. */
export function describeScenario(scenario: Scenario): string {
  const { config, policy, cost, clock, traffic, faults, meanLengthTokens } = scenario;
  const shares = faultKinds.filter((kind) => faults.shares[kind] > 0);
  return [
    `${config.slotCount} slots of ${config.contextTokens} tokens, batch ${config.batchTokens}`,
    `${config.reusePrefixes ? 'prefixes reused' : 'no reuse'}, copies ${config.operationCosts?.copyMs} ms, snapshots ${config.snapshotBytes} bytes`,
    `line ${config.maxWaiting} requests or ${config.maxWaitingTokens} tokens`,
    `ITL target ${policy.itlTargetMs === null ? 'automatic' : `${policy.itlTargetMs.toFixed(1)} ms`}, threads ${policy.threadChoices.join(' or ')}`,
    `cost ${short(cost.perPassMs)} ms/pass + ${short(cost.perTokenMs)} ms/token + ${short(cost.perContextTokenMs)} ms/context token, noise ${cost.noiseSigma}`,
    `clock of ${clock.resolutionMs} ms`,
    `an arrival every ${traffic.meanGapMs.toFixed(1)} ms, ${traffic.burstShare * 100}% in bursts of ${traffic.burstSize}`,
    `tenants ${traffic.tenantWeights.join(':')}, classes ${traffic.classWeights.join(':')}`,
    `prompts up to ${traffic.promptTokens[1]} tokens of ${traffic.alphabetTokens} kinds, ${traffic.sharedPrefix.share * 100}% share ${traffic.sharedPrefix.families} prefixes of ${traffic.sharedPrefix.tokens}`,
    `up to ${traffic.newTokens[1]} new tokens, ends after about ${meanLengthTokens}`,
    `${traffic.leaveShare * 100}% leave, ${traffic.stopShare * 100}% stop strings, ${traffic.deadlineShare * 100}% deadlines, ${traffic.slowReaderShare * 100}% slow readers, ${traffic.followUpShare * 100}% follow up`,
    shares.length === 0
      ? 'no faults'
      : `faults per tick: ${shares.map((kind) => `${kind} ${faults.shares[kind]}`).join(', ')}, outages ${faults.outageShare}`,
  ].join('; ');
}

function short(value: number): string {
  return String(Number(value.toPrecision(3)));
}
