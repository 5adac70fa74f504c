import { formatNumber } from './metrics.js';
import type { BenchResults } from './results.js';

/** The circumstances of a measurement, as name and value. */
export function factsOf(results: BenchResults): [string, string][] {
  const { machine, model, options, runs, overhead } = results;
  const seeds = [...new Set(runs.map(({ seed }) => seed))].sort((a, b) => a - b);
  const generatorShare = Math.max(0, ...runs.map(({ generator }) => generator.cpuShare));
  const loopDelayMs = Math.max(0, ...runs.map(({ generator }) => generator.eventLoopDelayP99Ms));
  return [
    ['Model', model.sizeBytes ? `${model.name} (${formatNumber(model.sizeBytes / 1e6, 0)} MB)` : model.name],
    [
      'Machine',
      `${machine.cpu}, ${machine.cores} cores, ${formatNumber(machine.memoryBytes / 2 ** 30, 0)} GiB`,
    ],
    ['System', `${machine.kernel}, Node ${machine.node}`],
    ...Object.entries({ ...results.versions, ...chairliftVersions(results) }),
    [
      'Load',
      `${options.clients} clients, about ${options.promptTokens} tokens in, ${options.outputTokens} out, lengths ${options.lengths}`,
    ],
    ['One run', `${windowsOf(results)}; seeds ${seeds.join(', ')}`],
    ['Targets', `first token ${options.targets.ttftMs} ms, every gap ${options.targets.itlMs} ms`],
    [
      'Load generator',
      `at most ${formatNumber(generatorShare * 100, 0)}% of a core, event loop late by ${formatNumber(loopDelayMs, 1)} ms (p99)`,
    ],
    ...(overhead
      ? ([
          [
            'Generator alone',
            `${formatNumber(overhead.streams, 0)} streams, ${formatNumber(overhead.tokensPerSecondReceived, 0)} tok/s on ${formatNumber(overhead.cpuShare * 100, 0)}% of a core, timestamps ${formatNumber(overhead.delayP50Ms, 1)} ms late (p99 ${formatNumber(overhead.delayP99Ms, 1)} ms), ${overhead.lostTokens} tokens lost`,
          ],
        ] as [string, string][])
      : []),
  ];
}

/** Commits differ when the measurement took several sittings. */
function chairliftVersions({ runs }: BenchResults): { chairlift?: string } {
  const versions = [...new Set(runs.flatMap(({ version }) => version ?? []))];
  return versions.length === 0 ? {} : { chairlift: versions.join(', ') };
}

function windowsOf({ runs, options }: BenchResults): string {
  const seconds = [...new Set(runs.map((run) => run.seconds ?? options.seconds))].sort((a, b) => a - b);
  const [shortest, longest] = [seconds[0] ?? options.seconds, seconds.at(-1) ?? options.seconds];
  if (shortest === longest) return `${shortest} s after warm-up`;
  return `${shortest} to ${longest} s after warm-up, by scenario`;
}

export function definitions(results: BenchResults): [string, string][] {
  const { ttftMs, itlMs } = results.options.targets;
  return [
    ['TTFT', 'Time from the arrival of a request (its scheduled time in an open loop) to its first token.'],
    ['ITL', 'Every gap between two tokens of one stream; percentiles are over all gaps of all streams.'],
    ['TPOT', '(end to end - TTFT) / (tokens - 1), one value per request.'],
    [
      'Goodput',
      `Requests per second that ended well with TTFT within ${ttftMs} ms and every gap within ${itlMs} ms. Rejected, failed and unfinished requests are not good.`,
    ],
    ['Closed loop', 'Each client sends its next request when the last one has ended.'],
    ['Open loop', 'Requests leave at times drawn beforehand (Poisson), whatever the server does.'],
    ['Percentile', 'Nearest rank over all raw samples of a run; nothing is binned.'],
    ['±', "Half of the 95% interval of the mean over seeds (Student's t)."],
  ];
}
