/**
 * Two workers, a gateway and a Redis under three times the load they can carry: what they then still get done, and
 * what becomes of every request. Wants a quiet machine; takes about three minutes.
 *
 *   npm run bench:overload -- [--seconds 60] [--peak-seconds 20] [--slots 8] [--model FILE.gguf] [--out FILE.json]
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { isMain } from './is-main.js';
import { arrivalScheduleMs } from './load/arrivals.js';
import { type DriverResult, runClosedLoop, runOpenLoop, sleep } from './load/drivers.js';
import { createEndpoint, fetchPlain } from './load/endpoint.js';
import { buildPrompt } from './load/prompts.js';
import { Random } from './load/random.js';
import { type RequestRecord, type RequestSpec, timeToFirstTokenMs } from './load/records.js';
import { percentile, sorted } from './load/statistics.js';
import { sendStreaming } from './load/stream-client.js';
import type { Target } from './load/target.js';
import { endProcess, startRedis } from './peers/redis-process.js';
import { freePort, ServerProcess } from './peers/server-process.js';
import { findModel } from './peers.js';
import { newestResultsFile, overloadFile, readResults, writeReport } from './report/files.js';
import { machineInfo } from './report/machine.js';
import { type Overload, type OverloadClass, overloadSection } from './report/overload.js';

const [promptTokens, outputTokens, workerCount] = [64, 32, 2];
const [times, warmupSeconds, drainSeconds] = [3, 5, 30];
const [maxOverflow, queueTimeoutMs] = [100, 8_000];
const classes = ['interactive', 'batch'] as const;
const expired = /waited too long/;

interface Cluster {
  gateway: Target;
  /** Base addresses of the workers. */
  workers: string[];
  commands: string[];
  stop: () => Promise<void>;
}

async function startCluster(modelPath: string, slots: number): Promise<Cluster> {
  const redis = await startRedis();
  const children: ChildProcess[] = [];
  const program = ['dist/src/cli/chairlift.cjs', 'serve', '--log-level', 'warn', '--redis-url', redis.url];
  const workerWords = [
    ...['--role', 'worker', '--model', modelPath, '--slots', `${slots}`, '--context', '512'],
    ...['--batch', '512', '--threads', '1'],
  ];
  const limits = ['--max-overflow', `${maxOverflow}`, '--queue-timeout-ms', `${queueTimeoutMs}`];
  const gatewayWords = ['--role', 'gateway', ...limits];
  const workers: string[] = [];
  let gateway: ServerProcess | null = null;
  const stop = async () => {
    await gateway?.stop();
    for (const child of children) await endProcess(child);
    await redis.stop();
  };
  try {
    for (let index = 0; index < workerCount; index += 1) {
      const port = await freePort();
      workers.push(`http://127.0.0.1:${port}`);
      const args = [...program, ...workerWords, '--port', `${port}`];
      children.push(spawn(process.execPath, args, { stdio: ['ignore', 'ignore', 'inherit'] }));
      // One after the other, so that each calibrates on a machine that is free.
      while (!(await isReady(workers[index]!))) await sleep(200);
    }
    const port = await freePort();
    const args = [...program, ...gatewayWords, '--port', `${port}`];
    gateway = await ServerProcess.start('gateway', { command: process.execPath, args }, port);
    const told = (words: string[]) => ['chairlift serve --redis-url URL', ...words].join(' ');
    const commands = [told([...workerWords.slice(0, 3), basename(modelPath), ...workerWords.slice(4)])];
    return { gateway: gateway.target, workers, commands: [...commands, told(gatewayWords)], stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function isReady(url: string): Promise<boolean> {
  const endpoint = createEndpoint(url);
  try {
    return (await fetchPlain(endpoint, 'GET', '/health', undefined, 2_000)).status === 200;
  } catch {
    return false;
  } finally {
    endpoint.agent.destroy();
  }
}

/** How long drained requests were in Redis, all workers together. */
async function redisWaits(workers: readonly string[]): Promise<{ seconds: number; count: number }> {
  const total = { seconds: 0, count: 0 };
  for (const url of workers) {
    const { text } = await fetchPlain(createEndpoint(url), 'GET', '/metrics', undefined, 5_000);
    const value = (end: string) =>
      Number(new RegExp(`^chairlift_overflow_wait_seconds_${end}\\{.*\\} (.*)$`, 'm').exec(text)?.[1] ?? 0);
    total.seconds += value('sum');
    total.count += value('count');
  }
  return total;
}

function requests(target: Target, seed: string): () => RequestSpec {
  const random = new Random(seed);
  return () => {
    const tag = random.pick(classes);
    const prompt = buildPrompt(promptTokens, target.calibration, random);
    return {
      prompt,
      promptTokens,
      outputTokens,
      tag,
      ...(tag === 'batch' && { serviceTier: 'flex' as const }),
    };
  };
}

function send(target: Target, spec: RequestSpec, options: { cut: AbortSignal; scheduledAtMs?: number }) {
  const { endpoint, shape } = target;
  return sendStreaming(spec, { endpoint, shape, timeoutMs: 120_000, ...options });
}

/** As many clients as there are slots, and half as many again so that nobody waits for the next request. */
async function peak(target: Target, slots: number, seconds: number, seed: string): Promise<number> {
  const next = requests(target, seed);
  const { signal } = new AbortController();
  const run = await runClosedLoop({
    clients: Math.ceil(1.5 * workerCount * slots),
    nextRequest: next,
    send: (spec, options) => send(target, spec, options),
    ...{ warmupMs: warmupSeconds * 1000, measureMs: seconds * 1000, drainMs: 10_000, signal },
  });
  return goodput(run);
}

/** Requests that ended well inside the window, per second. */
function goodput({ records, window }: DriverResult): number {
  const isGood = ({ outcome, finishedAtMs }: RequestRecord) =>
    outcome === 'ok' && finishedAtMs >= window.startMs && finishedAtMs < window.endMs;
  return records.filter(isGood).length / ((window.endMs - window.startMs) / 1000);
}

function outcomesOf(records: readonly RequestRecord[]) {
  const isExpired = ({ error }: RequestRecord) => expired.test(error ?? '');
  const success = records.filter(({ outcome }) => outcome === 'ok').length;
  const deadline = records.filter(isExpired).length;
  const refused = records.filter((record) => record.statusCode === 429 && !isExpired(record)).length;
  return { success, refused, deadline, other: records.length - success - deadline - refused };
}

function classOf(name: string, records: readonly RequestRecord[]): OverloadClass {
  const own = records.filter(({ tag }) => tag === name);
  const ttfts = sorted(
    own.flatMap((record) => (record.outcome === 'ok' ? (timeToFirstTokenMs(record) ?? []) : [])),
  );
  return {
    name,
    ...{ sent: own.length, ...outcomesOf(own) },
    ...{ ttftP50Ms: percentile(ttfts, 0.5), ttftP99Ms: percentile(ttfts, 0.99) },
  };
}

export async function measureOverload(
  modelPath: string,
  { slots, seconds, peakSeconds }: { slots: number; seconds: number; peakSeconds: number },
): Promise<Overload> {
  const cluster = await startCluster(modelPath, slots);
  try {
    const { gateway, workers, commands } = cluster;
    const peaks = [await peak(gateway, slots, peakSeconds, 'peak before')];
    const before = await redisWaits(workers);
    const ratePerSecond = times * peaks[0]!;
    const next = requests(gateway, 'overload');
    const arrivalsMs = arrivalScheduleMs(
      { ratePerSecond, durationSeconds: warmupSeconds + seconds },
      new Random('arrivals'),
    );
    const { signal } = new AbortController();
    const run = await runOpenLoop({
      arrivalsMs,
      request: next,
      send: (spec, options) => send(gateway, spec, options),
      ...{ warmupMs: warmupSeconds * 1000, measureMs: seconds * 1000, drainMs: drainSeconds * 1000, signal },
    });
    const after = await redisWaits(workers);
    peaks.push(await peak(gateway, slots, peakSeconds, 'peak after'));
    const { records } = run;
    const errors = records.flatMap((record) =>
      outcomesOf([record]).other === 1 ? [record.error ?? record.outcome] : [],
    );
    const ttfts = records.flatMap((record) =>
      record.outcome === 'ok' ? (timeToFirstTokenMs(record) ?? []) : [],
    );
    return {
      model: basename(modelPath),
      machine: machineInfo(),
      measuredAt: new Date().toISOString(),
      ...{ commands, slots, workers: workerCount, promptTokens, outputTokens, maxOverflow, queueTimeoutMs },
      ...{ peakSeconds, seconds, times, ratePerSecond, peakGoodputs: peaks, goodput: goodput(run) },
      ...{ sent: records.length, ...outcomesOf(records), errors: [...new Set(errors)] },
      ttftMeanMs: ttfts.reduce((sum, each) => sum + each, 0) / ttfts.length,
      redisWaitMeanMs: (1000 * (after.seconds - before.seconds)) / (after.count - before.count),
      classes: classes.map((name) => classOf(name, records)),
    };
  } finally {
    await cluster.stop();
  }
}

async function main(argv: string[]): Promise<void> {
  const { values } = parseArgs({
    args: argv,
    options: {
      seconds: { type: 'string', default: '60' },
      'peak-seconds': { type: 'string', default: '20' },
      slots: { type: 'string', default: '8' },
      model: { type: 'string' },
      out: { type: 'string', default: overloadFile },
    },
  });
  const result = await measureOverload(findModel(values.model), {
    slots: Number(values.slots),
    seconds: Number(values.seconds),
    peakSeconds: Number(values['peak-seconds']),
  });
  const round = (_: string, value: unknown) =>
    typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value;
  writeFileSync(values.out, `${JSON.stringify(result, round, 1)}\n`);
  process.stdout.write(`${overloadSection(result).join('\n')}\nWrote ${values.out}\n`);
  const newest = newestResultsFile();
  if (resolve(values.out) !== overloadFile || !newest) return;
  for (const written of writeReport(newest, readResults(newest))) process.stdout.write(`Wrote ${written}\n`);
}

if (isMain(import.meta.url)) await main(process.argv.slice(2));
