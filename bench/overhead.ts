import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { isMain } from './is-main.js';
import { runClosedLoop } from './load/drivers.js';
import { LoadMeter } from './load/load-meter.js';
import type { RequestRecord } from './load/records.js';
import { percentile, sorted } from './load/statistics.js';
import { sendStreaming } from './load/stream-client.js';
import { openTarget } from './load/target.js';
import type { OverheadResult } from './report/results.js';

export interface OverheadOptions {
  streams: number;
  tokensPerSecondPerStream: number;
  seconds: number;
}

const defaults: OverheadOptions = { streams: 1000, tokensPerSecondPerStream: 10, seconds: 5 };

/** Loads the generator with streams from a fake server in another process and watches what it costs and loses. */
export async function measureOverhead(options: Partial<OverheadOptions> = {}): Promise<OverheadResult> {
  const { streams, tokensPerSecondPerStream, seconds } = { ...defaults, ...options };
  const server = await startFakeServer(tokensPerSecondPerStream);
  try {
    const target = await openTarget({ url: `http://127.0.0.1:${server.port}` });
    const { endpoint, shape } = target;
    const outputTokens = Math.round(tokensPerSecondPerStream * (seconds + 2));
    const spec = { prompt: 'The fake', promptTokens: 2, outputTokens };
    const delaysMs: number[] = [];
    const meter = new LoadMeter();
    const result = await runClosedLoop({
      clients: streams,
      nextRequest: (_, turn) => (turn === 0 ? spec : undefined),
      send: async (request, { cut }) => {
        const record = await sendStreaming(request, { endpoint, shape, cut, timeoutMs: 60_000 });
        delaysMs.push(...deliveryDelaysMs(record));
        return record;
      },
      warmupMs: 1000,
      measureMs: seconds * 1000,
      drainMs: 20_000,
      signal: new AbortController().signal,
    });
    const { cpuShare } = meter.stop();
    endpoint.agent.destroy();
    return {
      ...overheadFigures(result.records, delaysMs, outputTokens),
      cpuShare,
      streams,
      tokensPerSecondOffered: streams * tokensPerSecondPerStream,
    };
  } finally {
    server.process.disconnect();
  }
}

function overheadFigures(
  records: readonly RequestRecord[],
  delaysMs: readonly number[],
  outputTokens: number,
) {
  const received = records.reduce((count, record) => count + record.chunkAtMs.length, 0);
  const first = Math.min(...records.map((record) => record.chunkAtMs[0] ?? Number.POSITIVE_INFINITY));
  const last = Math.max(...records.map((record) => record.finishedAtMs));
  const ascending = sorted(delaysMs);
  return {
    tokensPerSecondReceived: (received * 1000) / (last - first),
    delayP50Ms: percentile(ascending, 0.5),
    delayP99Ms: percentile(ascending, 0.99),
    lostTokens: records.length * outputTokens - received,
  };
}

/** How long after it was written each token got its timestamp here. */
function deliveryDelaysMs(record: RequestRecord): number[] {
  const writtenMicros = record.text.trim().split(' ').map(Number);
  return record.chunkAtMs.map(
    (atMs, index) => performance.timeOrigin + atMs - (writtenMicros[index] ?? 0) / 1000,
  );
}

async function startFakeServer(tokensPerSecond: number): Promise<{ process: ChildProcess; port: number }> {
  const isSource = import.meta.url.endsWith('.ts');
  const file = fileURLToPath(new URL(`./load/fake-server.${isSource ? 'ts' : 'js'}`, import.meta.url));
  const child = fork(file, {
    execArgv: isSource ? ['--import', 'tsx'] : [],
    env: { ...process.env, FAKE_TOKENS_PER_SECOND: String(tokensPerSecond) },
  });
  const port = await new Promise<number>((resolve, reject) => {
    child.once('message', (message) => resolve((message as { port: number }).port));
    child.once('exit', (code) => reject(new Error(`the fake server ended with code ${code}`)));
  });
  return { process: child, port };
}

if (isMain(import.meta.url)) {
  process.stdout.write(`${JSON.stringify(await measureOverhead(), null, 2)}\n`);
}
