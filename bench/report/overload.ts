import type { MachineInfo } from './machine.js';
import { formatNumber } from './metrics.js';

/** What became of requests: their answer, a 429 at once, their own deadline while they waited, anything else. */
export interface OverloadOutcomes {
  sent: number;
  success: number;
  refused: number;
  deadline: number;
  other: number;
}

export interface OverloadClass extends OverloadOutcomes {
  name: string;
  /** Of the successful ones. */
  ttftP50Ms: number;
  ttftP99Ms: number;
}

/** As it is kept in the results. Rates are requests per second. */
export interface Overload extends OverloadOutcomes {
  model: string;
  machine: MachineInfo;
  measuredAt: string;
  commands: string[];
  workers: number;
  slots: number;
  promptTokens: number;
  outputTokens: number;
  maxOverflow: number;
  queueTimeoutMs: number;
  peakSeconds: number;
  seconds: number;
  times: number;
  ratePerSecond: number;
  /** Closed loop, before and after. */
  peakGoodputs: number[];
  goodput: number;
  errors: string[];
  /** Of the successful ones: arrival to first token, and how much of it a request lay in Redis. */
  ttftMeanMs: number;
  redisWaitMeanMs: number;
  classes: OverloadClass[];
}

const goalRatio = 0.95;

/** Against the higher of the two peaks. */
export function overloadRatio({ goodput, peakGoodputs }: Overload): number {
  return goodput / Math.max(...peakGoodputs);
}

export function overloadSection(results: Overload): string[] {
  const { model, workers, slots, promptTokens, outputTokens, peakSeconds, seconds, times } = results;
  const { ratePerSecond, peakGoodputs, goodput, maxOverflow, queueTimeoutMs, errors } = results;
  const ratio = overloadRatio(results);
  const allEnded = results.other === 0;
  const row = (name: string, { sent, success, refused, deadline, other }: OverloadOutcomes, ttft: number[]) =>
    `| ${[name, sent, success, refused, deadline, other, ...ttft.map((ms) => (ms / 1000).toFixed(2))].join(' | ')} |`;
  return [
    '<a id="overload-redis"></a>',
    '',
    '## Overload through Redis: a gateway and two workers',
    '',
    `${model}, ${workers} workers of ${slots} slots and one thread each on the same machine, everything through the gateway and Redis; ${promptTokens} tokens in, ${outputTokens} out. The peak is a closed loop of ${Math.ceil(1.5 * workers * slots)} clients for ${peakSeconds} s, before and after; then ${times} times as many requests per second for ${seconds} s (Poisson), half of them \`flex\`. At most ${maxOverflow} wait, each at most ${queueTimeoutMs / 1000} s. Measured ${results.measuredAt.slice(0, 10)}; repeat with \`npm run bench:overload\`.`,
    '',
    `- Peak goodput: ${peakGoodputs.map((rate) => formatNumber(rate, 2)).join(' and ')} requests/s; offered: ${formatNumber(ratePerSecond, 1)}; goodput then: ${formatNumber(goodput, 2)}.`,
    `- Of the higher peak: **${formatNumber(100 * ratio, 1)}%** (goal: ${100 * goalRatio}%, ${ratio >= goalRatio ? 'reached' : '**not reached**'}).`,
    `- Every request ended in success, a 429 or its own deadline: ${allEnded ? '**yes**' : `**no** (${errors.join('; ')})`}.`,
    `- Mean time to first token ${formatNumber(results.ttftMeanMs, 0)} ms, of it ${formatNumber(results.redisWaitMeanMs, 0)} ms in Redis and the rest in the line of a worker and its prefill.`,
    '',
    '| Class | Sent | Success | 429 | Deadline | Other | TTFT p50, s | p99, s |',
    '|---|---:|---:|---:|---:|---:|---:|---:|',
    ...results.classes.map((each) => row(each.name, each, [each.ttftP50Ms, each.ttftP99Ms])),
    row('all', results, []).replace(/ \|$/, ' | | |'),
    '',
  ];
}
