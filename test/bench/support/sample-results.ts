import { Random } from '../../../bench/load/random.js';
import { quantileCurve } from '../../../bench/load/statistics.js';
import { takesPart } from '../../../bench/peers/schedule.js';
import { peerSpecs } from '../../../bench/peers/specs.js';
import type { BenchResults, RunResult } from '../../../bench/report/results.js';
import { scenarios } from '../../../bench/scenarios/index.js';

const seeds = [1, 2, 3];
/** How fast each pretended server is, against the first. */
const speeds: Record<string, number> = {
  chairlift: 1,
  'chairlift-local': 0.85,
  'llama-server': 0.8,
  'llama-server-default': 0.75,
  'llama-server-unified': 0.7,
  naive: 0.4,
  serial: 0.12,
};

/** Complete results of a pretended comparison, to look at reports and to test them; the numbers mean nothing. */
export function sampleResults(): BenchResults {
  return {
    format: 2,
    createdAt: '2026-01-02T03:04:05.000Z',
    updatedAt: '2026-01-02T03:04:05.000Z',
    machine: {
      cpu: 'Pretended CPU',
      cores: 2,
      memoryBytes: 24 * 2 ** 30,
      kernel: 'Linux 6 x64',
      node: 'v20.0.0',
    },
    model: { name: 'pretended.gguf', sizeBytes: 98_000_000 },
    versions: { 'node-llama-cpp': '3.22.1' },
    options: {
      clients: 32,
      seconds: 12,
      warmupSeconds: 3,
      promptTokens: 64,
      outputTokens: 48,
      lengths: 'spread',
      targets: { ttftMs: 2000, itlMs: 250 },
      contextTokens: 1024,
    },
    subjects: peerSpecs.map(({ name, label, description }) => ({
      name,
      label,
      description,
      version: '',
      commands: [`${name} --model pretended.gguf`],
    })),
    runs: peerSpecs.flatMap((peer) =>
      scenarios
        .filter((scenario) => takesPart(peer, scenario, 0))
        .flatMap((scenario) =>
          seeds.map((seed) => sampleRun(peer.name, scenario.name, scenario.headline, seed)),
        ),
    ),
    ceiling: [{ command: 'llama-batched-bench -npl 32', generatedTokensPerSecond: 437 }],
    overhead: {
      streams: 1000,
      tokensPerSecondOffered: 10_000,
      tokensPerSecondReceived: 9990,
      cpuShare: 0.31,
      delayP50Ms: 0.6,
      delayP99Ms: 4.2,
      lostTokens: 0,
    },
  };
}

function sampleRun(subject: string, scenario: string, headline: readonly string[], seed: number): RunResult {
  const random = new Random(`${subject} ${scenario} ${seed}`);
  const speed = (speeds[subject] as number) * (0.96 + 0.08 * random.next());
  const metrics = Object.fromEntries(headline.map((key) => [key, sampleMetric(key, speed)]));
  const gaps = Array.from({ length: 300 }, () => random.lognormal(Math.log(20 / speed), 0.4 + (1 - speed)));
  const clients = [1, 2, 4, 8, 16, 32];
  const rates = [2, 4, 6, 8, 10, 12];
  return {
    subject,
    scenario,
    seed,
    startedAt: '2026-01-02T03:04:05.000Z',
    metrics: { ...metrics, failedRequests: subject === 'serial' && scenario === 'overload' ? 2 : 0 },
    curves: { itlMs: quantileCurve(gaps) },
    points: {
      tokensPerSecondByClients: clients.map((x) => ({ x, y: 480 * speed * (1 - 0.9 ** x) })),
      goodputByRate: rates.map((x) => ({ x, y: x < 9 * speed ? x : Math.max(0, 18 * speed - x) })),
    },
    generator: { cpuShare: 0.05, eventLoopDelayP99Ms: 1.2, foreignCores: 0.02 },
  };
}

function sampleMetric(key: string, speed: number): number {
  if (/Fraction|Of[A-Z]/.test(key)) return 0.9 * speed;
  if (/PerSecond/.test(key)) return 450 * speed;
  return 60 / speed;
}
