/**
 * What the way through Redis costs: many streams at once through a gateway and workers with the simulated engine, and a
 * Redis of its own, all on this machine. Every frame that the workers wrote is read back from Redis and compared with
 * what the clients got, byte by byte and millisecond by millisecond.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Redis } from 'ioredis';
import { isMain } from './is-main.js';
import { runClosedLoop, sleep } from './load/drivers.js';
import { processTreeSeconds } from './load/load-meter.js';
import { buildPrompt } from './load/prompts.js';
import { Random } from './load/random.js';
import { type RequestRecord, timeToFirstTokenMs } from './load/records.js';
import { percentile, sorted } from './load/statistics.js';
import { sendStreaming } from './load/stream-client.js';
import type { Target } from './load/target.js';
import { PeerError } from './peers/prepare.js';
import { freePort, ServerProcess } from './peers/server-process.js';

const help = `npm run bench:relay -- [--streams 1000] [--workers 4] [--slots 256] [--tokens 60] [--idle-requests 100]

  Starts a Redis, a gateway and workers with the simulated engine, sends all streams at once, and prints as JSON what
  was lost, how late tokens came (from the worker's token to the client), what a token costs in CPU, and what the way
  through Redis adds to the time to first token when a worker is idle. Exit code 1 when anything was lost.
`;

const redisPrefix = 'bench-relay';
const flags = {
  help: { type: 'boolean', short: 'h' },
  streams: { type: 'string', default: '1000' },
  workers: { type: 'string', default: '4' },
  slots: { type: 'string', default: '256' },
  tokens: { type: 'string', default: '60' },
  'idle-requests': { type: 'string', default: '100' },
} as const;

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
}

interface Options {
  streams: number;
  workers: number;
  slots: number;
  tokens: number;
  idleRequests: number;
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
    const pids = { gateway: [gateway.pid], workers: children.map(({ pid }) => pid!), redis: [redis.pid] };
    return { ...(await measureStorm(gateway.target, redis.url, pids, options)), ...idle };
  } finally {
    for (const server of servers) await server.stop();
    for (const child of children) await end(child);
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

async function startRedis() {
  if (spawnSync('redis-server', ['--version']).error) {
    throw new PeerError(
      'bench:relay needs redis-server in the PATH (on Debian: apt-get install redis-server).',
    );
  }
  const folder = mkdtempSync(join(tmpdir(), 'bench-relay-'));
  const port = await freePort();
  const child = spawn(
    'redis-server',
    ['--port', `${port}`, '--dir', folder, '--appendonly', 'yes', '--save', ''],
    { stdio: 'ignore' },
  );
  const url = `redis://127.0.0.1:${port}`;
  const probe = new Redis(url, { retryStrategy: () => 50, maxRetriesPerRequest: null });
  probe.on('error', () => {});
  await probe.ping();
  probe.disconnect();
  return {
    url,
    pid: child.pid as number,
    stop: async () => {
      await end(child);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), 5000);
  await gone;
  clearTimeout(timer);
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
    });
    process.stdout.write(`${JSON.stringify(result, null, 2)}\n`);
    process.exitCode = result.completeStreams === result.streams ? 0 : 1;
  }
}
