/**
 * What the way through Redis costs: many streams at once through a gateway and workers with the simulated engine, and a
 * Redis of its own, all on this machine. Every frame that the workers wrote is read back from Redis and compared with
 * what the clients got, byte by byte and millisecond by millisecond.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Redis } from 'ioredis';
import { isMain } from './is-main.js';
import { runClosedLoop, sleep } from './load/drivers.js';
import { fetchPlain } from './load/endpoint.js';
import { processTreeSeconds } from './load/load-meter.js';
import { buildPrompt } from './load/prompts.js';
import { Random } from './load/random.js';
import { type RequestRecord, timeToFirstTokenMs } from './load/records.js';
import { percentile, sorted } from './load/statistics.js';
import { sendStreaming } from './load/stream-client.js';
import type { Target } from './load/target.js';
import { endProcess, startRedis } from './peers/redis-process.js';
import { freePort, ServerProcess } from './peers/server-process.js';
import { newestResultsFile, readResults, relayFile, writeReport } from './report/files.js';
import { machineInfo } from './report/machine.js';
import type { CancelTimes, RelayResult } from './report/relay.js';

const help = `npm run bench:relay -- [--streams 1000] [--workers 4] [--slots 256] [--tokens 60] [--idle-requests 100]
                       [--cancels 50] [--out FILE.json]

  Starts a Redis, a gateway and workers with the simulated engine, sends all streams at once, and prints as JSON what
  was lost, how late tokens came (from the worker's token to the client), what a token costs in CPU, and what the way
  through Redis adds to the time to first token when a worker is idle, and how soon a client's leaving ends its
  sequence and its job. Writes the results beside those of the peers. Exit code 1 when anything was lost.
`;

const redisPrefix = 'bench-relay';
const flags = {
  help: { type: 'boolean', short: 'h' },
  streams: { type: 'string', default: '1000' },
  workers: { type: 'string', default: '4' },
  slots: { type: 'string', default: '256' },
  tokens: { type: 'string', default: '60' },
  'idle-requests': { type: 'string', default: '100' },
  cancels: { type: 'string', default: '50' },
  out: { type: 'string', default: relayFile },
} as const;

interface Options {
  streams: number;
  workers: number;
  slots: number;
  tokens: number;
  idleRequests: number;
  cancels: number;
}

export async function measureRelay(options: Options): Promise<RelayResult> {
  const redis = await startRedis();
  const servers: ServerProcess[] = [];
  const children: ChildProcess[] = [];
  try {
    const start = async (name: string, args: string[]): Promise<ServerProcess> => {
      const server = await startNode(name, args, options.slots);
      servers.push(server);
      return server;
    };
    const shared = ['--redis-url', redis.url, '--redis-prefix', redisPrefix];
    for (let index = 0; index < options.workers; index += 1) {
      const port = await freePort();
      children.push(spawnNode(['--role', 'worker', ...shared, '--port', `${port}`], options.slots));
    }
    const gateway = await start('gateway', ['--role', 'gateway', ...shared]);
    const direct = await start('direct node', []);
    const idle = await measureIdle(gateway.target, direct.target, options.idleRequests);
    const cancelled = await measureCancels(redis.url, options.cancels);
    const pids = { gateway: [gateway.pid], workers: children.map(({ pid }) => pid!), redis: [redis.pid] };
    return { ...(await measureStorm(gateway.target, redis.url, pids, options)), ...idle, ...cancelled };
  } finally {
    for (const server of servers) await server.stop();
    for (const child of children) await endProcess(child);
    await redis.stop();
  }
}

function nodeArguments(args: string[], slots: number): string[] {
  return [
    ...['dist/src/cli/chairlift.cjs', 'serve', '--engine', 'sim', '--slots', `${slots}`],
    ...['--context', '4096', '--log-level', 'warn', ...args],
  ];
}

function spawnNode(args: string[], slots: number): ChildProcess {
  return spawn(process.execPath, nodeArguments(args, slots), { stdio: ['ignore', 'ignore', 'inherit'] });
}

async function startNode(name: string, args: string[], slots: number): Promise<ServerProcess> {
  const port = await freePort();
  const command = { command: process.execPath, args: nodeArguments([...args, '--port', `${port}`], slots) };
  return ServerProcess.start(name, command, port);
}

function request(target: Target, random: Random, tokens: number, cut?: AbortSignal): Promise<RequestRecord> {
  const spec = {
    prompt: buildPrompt(12, target.calibration, random),
    promptTokens: 12,
    outputTokens: tokens,
  };
  return sendStreaming(spec, {
    endpoint: target.endpoint,
    shape: target.shape,
    timeoutMs: 120_000,
    ...(cut ? { cut } : {}),
  });
}

/** In turns, so that both see the same machine. */
async function measureIdle(gateway: Target, direct: Target, requests: number) {
  const random = new Random('idle');
  const times = { gateway: [] as number[], direct: [] as number[] };
  for (let index = 0; index < requests; index += 1) {
    times.direct.push(timeToFirstTokenMs(await request(direct, random, 4)) ?? Number.NaN);
    times.gateway.push(timeToFirstTokenMs(await request(gateway, random, 4)) ?? Number.NaN);
    await sleep(20);
  }
  const idleTtftP50Ms = percentile(sorted(times.gateway), 0.5);
  const directTtftP50Ms = percentile(sorted(times.direct), 0.5);
  return { idleTtftP50Ms, directTtftP50Ms, addedTtftP50Ms: idleTtftP50Ms - directTtftP50Ms };
}

interface Cancel {
  sequenceMs?: number;
  jobMs: number;
}

/** A gateway and a worker with one slot, so that a second request waits. Both are watched every few milliseconds. */
async function measureCancels(redisUrl: string, count: number) {
  const prefix = 'bench-cancel';
  const shared = ['--redis-url', redisUrl, '--redis-prefix', prefix];
  const worker = await startNode('worker with one slot', shared, 1);
  const gateway = await startNode('gateway', ['--role', 'gateway', ...shared], 1).catch(async (error) => {
    await worker.stop();
    throw error;
  });
  const redis = new Redis(redisUrl);
  const jobs = async () => {
    const keys = await redis.keys(`${prefix}:overflow:cmpl-*`);
    return keys.filter((key) => !key.endsWith(':lock'));
  };
  const isRunning = async () => {
    const { text } = await fetchPlain(worker.target.endpoint, 'GET', '/health', undefined, 5_000);
    return (JSON.parse(text) as { slots: { running: number } }).slots.running > 0;
  };
  const random = new Random('cancels');
  const start = () => {
    const controller = new AbortController();
    void request(gateway.target, random, 3_000, controller.signal);
    return controller;
  };
  const [running, waiting]: [Cancel[], Cancel[]] = [[], []];
  try {
    for (let index = 0; index < count; index += 1) {
      const first = start();
      while (!(await isRunning())) await sleep(2);
      const [firstJob] = await jobs();
      const second = start();
      while ((await redis.zcard(`${prefix}:overflow:prioritized`)) === 0) await sleep(2);
      const secondJob = (await jobs()).find((key) => key !== firstJob)!;
      waiting.push({ jobMs: await timeAfter(second, async () => (await redis.exists(secondJob)) === 0) });
      const isGone = async () => (await redis.exists(firstJob!)) === 0;
      const ended = timeAfter(first, async () => !(await isRunning()));
      const [sequenceMs, jobMs] = await Promise.all([ended, timeAfter(first, isGone)]);
      running.push({ sequenceMs, jobMs });
    }
  } finally {
    redis.disconnect();
    await gateway.stop();
    await worker.stop();
  }
  return {
    cancelledSequence: cancelTimes(running.map(({ sequenceMs }) => sequenceMs!)),
    cancelledRunning: cancelTimes(running.map(({ jobMs }) => jobMs)),
    cancelledWaiting: cancelTimes(waiting.map(({ jobMs }) => jobMs)),
  };
}

async function timeAfter(leaving: AbortController, isOver: () => Promise<boolean>): Promise<number> {
  const startedMs = performance.now();
  leaving.abort();
  while (!(await isOver())) await sleep(1);
  return performance.now() - startedMs;
}

function cancelTimes(timesMs: readonly number[]): CancelTimes {
  const ascending = sorted(timesMs);
  const at = (share: number) => percentile(ascending, share);
  return { count: timesMs.length, p50Ms: at(0.5), p99Ms: at(0.99), maxMs: at(1) };
}

async function measureStorm(
  gateway: Target,
  redisUrl: string,
  pids: { gateway: number[]; workers: number[]; redis: number[] },
  { streams, tokens }: Options,
) {
  const random = new Random('storm');
  const cpu = (of: number[]): number => of.reduce((total, pid) => total + processTreeSeconds(pid), 0);
  const before = { gateway: cpu(pids.gateway), workers: cpu(pids.workers), redis: cpu(pids.redis) };
  const startedMs = performance.now();
  const { records } = await runClosedLoop({
    clients: streams,
    nextRequest: (_, turn) =>
      turn === 0 ? { prompt: '', promptTokens: 0, outputTokens: tokens } : undefined,
    send: (_, { cut }) => request(gateway, random, tokens, cut),
    warmupMs: 0,
    measureMs: 1000,
    drainMs: 120_000,
    signal: new AbortController().signal,
  });
  const seconds = (performance.now() - startedMs) / 1000;
  const received = records.reduce((total, { outputTokens = 0 }) => total + outputTokens, 0);
  const perToken = (kind: keyof typeof pids): number => (1e6 * (cpu(pids[kind]) - before[kind])) / received;
  const costs = {
    gatewayMicrosPerToken: perToken('gateway'),
    workerMicrosPerToken: perToken('workers'),
    redisMicrosPerToken: perToken('redis'),
  };
  const errors = [
    ...new Set(records.flatMap(({ error, outcome }) => error ?? (outcome === 'ok' ? [] : outcome))),
  ];
  const compared = compareWithRedis(records, await framesInRedis(redisUrl), tokens);
  return { streams, errors, tokens: received, seconds, ...compared, ...costs };
}

interface Frame {
  text: string;
  atMs: number;
}

/** All frames with text, by the whole text of their stream. */
async function framesInRedis(url: string): Promise<Map<string, Frame[]>> {
  const redis = new Redis(url);
  const byText = new Map<string, Frame[]>();
  for await (const keys of redis.scanStream({ match: `${redisPrefix}:tok:*`, count: 1000 })) {
    for (const key of keys as string[]) {
      const frames = (await redis.xrange(key, '-', '+')).flatMap(([, fields]) => frameOf(fields[1]!));
      byText.set(frames.map(({ text }) => text).join(''), frames);
    }
  }
  redis.disconnect();
  return byText;
}

function frameOf(json: string): Frame[] {
  const { t, at } = JSON.parse(json) as { t?: string; at?: number };
  return t === undefined || t === '' || at === undefined ? [] : [{ text: t, atMs: at }];
}

function compareWithRedis(
  records: readonly RequestRecord[],
  frames: ReadonlyMap<string, Frame[]>,
  tokens: number,
) {
  const delaysMs: number[] = [];
  let completeStreams = 0;
  let comparedStreams = 0;
  for (const { outcome, text, chunkAtMs, outputTokens } of records) {
    const written = frames.get(text);
    if (outcome !== 'ok' || outputTokens !== tokens || !written) continue;
    completeStreams += 1;
    // One chunk a frame; where they differ, the chunks cannot be told apart.
    if (written.length !== chunkAtMs.length) continue;
    comparedStreams += 1;
    for (const [index, atMs] of chunkAtMs.entries()) {
      delaysMs.push(performance.timeOrigin + atMs - written[index]!.atMs);
    }
  }
  const ascending = sorted(delaysMs);
  return {
    completeStreams,
    comparedStreams,
    frames: delaysMs.length,
    relayDelayP50Ms: percentile(ascending, 0.5),
    relayDelayP99Ms: percentile(ascending, 0.99),
    relayDelayMaxMs: percentile(ascending, 1),
  };
}

if (isMain(import.meta.url)) {
  const { values } = parseArgs({ options: flags });
  if (values.help) process.stdout.write(help);
  else {
    const result = await measureRelay({
      streams: Number(values.streams),
      workers: Number(values.workers),
      slots: Number(values.slots),
      tokens: Number(values.tokens),
      idleRequests: Number(values['idle-requests']),
      cancels: Number(values.cancels),
    });
    process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
    const round = (_: string, value: unknown) =>
      typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value;
    const kept = { ...result, machine: machineInfo(), measuredAt: new Date().toISOString() };
    writeFileSync(values.out, `${JSON.stringify(kept, round, 1)}\n`);
    const newest = newestResultsFile();
    if (resolve(values.out) === relayFile && newest) writeReport(newest, readResults(newest));
    process.exitCode = result.completeStreams === result.streams ? 0 : 1;
  }
}
