import type { MachineInfo } from './machine.js';
import { formatNumber } from './metrics.js';

/** From a client's disconnect, in ms. */
export interface CancelTimes {
  count: number;
  p50Ms: number;
  p99Ms: number;
  maxMs: number;
}

export interface RelayResult {
  streams: number;
  /** Streams that ended well, with all their tokens, and with exactly the text that is in Redis. */
  completeStreams: number;
  errors: string[];
  /** From a worker's token to the client; a frame holds up to 30 ms of tokens and counts from its first. */
  relayDelayP50Ms: number;
  relayDelayP99Ms: number;
  relayDelayMaxMs: number;
  tokens: number;
  /** What the delays are taken from: streams whose chunks and frames match one to one. */
  comparedStreams: number;
  frames: number;
  seconds: number;
  /** CPU per token, in microseconds, of each kind of process. */
  gatewayMicrosPerToken: number;
  workerMicrosPerToken: number;
  redisMicrosPerToken: number;
  /** One request at a time: time to first token through Redis, and from a node without Redis. */
  idleTtftP50Ms: number;
  directTtftP50Ms: number;
  addedTtftP50Ms: number;
  /** To the end of the sequence in the worker, to the end of a running job, and of one that waited. */
  cancelledSequence: CancelTimes;
  cancelledRunning: CancelTimes;
  cancelledWaiting: CancelTimes;
}

/** As it is kept in the results. */
export interface Relay extends RelayResult {
  machine: MachineInfo;
  measuredAt: string;
}

const goals = { lost: 0, relayDelayP99Ms: 100, addedTtftP50Ms: 10, cancelMs: 200 };

export function relaySection(results: Relay): string[] {
  const { streams, completeStreams, relayDelayP99Ms, addedTtftP50Ms } = results;
  const ms = (value: number) => `${formatNumber(value, 1)} ms`;
  const row = (what: string, value: number, goal: number) =>
    `| ${what} | ${ms(value)} | ${goal} ms | ${value <= goal ? 'met' : 'missed'} |`;
  const cancel = (what: string, { count, p50Ms, p99Ms, maxMs }: CancelTimes) =>
    row(
      `A client leaves: ${what}, longest of ${count} (p50 ${ms(p50Ms)}, p99 ${ms(p99Ms)})`,
      maxMs,
      goals.cancelMs,
    );
  return [
    '<a id="relay"></a>',
    '',
    '## The way through Redis',
    '',
    `Simulated engine, gateway, workers, Redis and load generator on one machine (${results.machine.cores} cores). Measured ${results.measuredAt.slice(0, 10)}; repeat with \`npm run bench:relay\`.`,
    '',
    '| What | Measured | Goal | |',
    '|---|---:|---:|---|',
    `| ${streams} streams at once: lost or wrong | ${streams - completeStreams} | ${goals.lost} | ${streams === completeStreams ? 'met' : 'missed'} |`,
    row('A token from its worker to the client, p99 of them', relayDelayP99Ms, goals.relayDelayP99Ms),
    row('Added to the time to first token with an idle worker, p50', addedTtftP50Ms, goals.addedTtftP50Ms),
    cancel('end of its sequence in the worker', results.cancelledSequence),
    cancel('end of its running job', results.cancelledRunning),
    cancel('end of its waiting job', results.cancelledWaiting),
    '',
    `CPU per token: gateway ${formatNumber(results.gatewayMicrosPerToken, 0)} µs, worker ${formatNumber(results.workerMicrosPerToken, 0)} µs, Redis ${formatNumber(results.redisMicrosPerToken, 0)} µs.`,
    '',
  ];
}
