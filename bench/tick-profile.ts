import { basename } from 'node:path';
import { throughputFirst } from '../scheduler/index.js';
import { loadLlamaRuntime } from '../src/engine/llama/load-llama-runtime.js';
import { greedySampling } from '../src/engine/sampling-parameters.js';
import { type ObservedTick, silentObserver } from '../src/metrics/serving-observer.js';
import { threadChoicesUpTo } from '../src/serving/calibration.js';
import { LocalServingCore } from '../src/serving/local-serving-core.js';
import { isMain } from './is-main.js';

const slots = 32;
const promptTokens = 64;
const outputTokens = 48;

/** Means over the ticks of a closed loop in which every client decodes and nobody prefills. */
export interface TickProfile {
  model: string;
  threads: number;
  /** Busy slots: one per client. */
  slots: number;
  /** Ticks of pure decode with that many busy, the others left out. */
  ticks: number;
  passes: number;
  decodeMs: number;
  samplingMs: number;
  javascriptMs: number;
  /** Of the whole loop, prefill included. */
  generatedTokensPerSecond: number;
}

/** Runs requests through the serving core in this process, without HTTP. */
export async function profileTicks(
  modelPath: string,
  threads: number,
  requests: number,
  clients = slots,
): Promise<TickProfile> {
  const runtime = await loadLlamaRuntime({
    modelPath,
    slots,
    contextTokens: 1024,
    batchTokens: 512,
    threads,
  });
  const ticks: ObservedTick[] = [];
  const core = new LocalServingCore({
    runtime,
    model: { id: 'm', createdSeconds: 0, source: '', sizeBytes: 0, contextTokens: 1024, slotCount: slots },
    policy: { ...throughputFirst, threadChoices: threadChoicesUpTo(threads) },
    measurements: [],
    limits: { maxWaiting: requests, maxWaitingTokens: requests * promptTokens },
    observer: { ...silentObserver, tick: (tick) => ticks.push(tick) },
    nowMs: () => performance.now(),
    onFault: (message) => process.stderr.write(`${message}\n`),
  });
  await closedLoop(core, 2 * clients, clients);
  ticks.length = 0;
  const startedMs = performance.now();
  const generated = await closedLoop(core, requests, clients);
  const seconds = (performance.now() - startedMs) / 1000;
  await core.close(0);
  const full = ticks.filter(({ rows, tokens }) => rows === clients && tokens === clients);
  const mean = (field: 'passes' | 'decodeMs' | 'samplingMs' | 'javascriptMs') =>
    full.reduce((sum, tick) => sum + tick[field], 0) / full.length;
  return {
    model: basename(modelPath),
    threads,
    slots: clients,
    ticks: full.length,
    passes: mean('passes'),
    decodeMs: mean('decodeMs'),
    samplingMs: mean('samplingMs'),
    javascriptMs: mean('javascriptMs'),
    generatedTokensPerSecond: generated / seconds,
  };
}

/** @returns tokens generated */
function closedLoop(core: LocalServingCore, requests: number, clients: number): Promise<number> {
  let started = 0;
  let ended = 0;
  let generated = 0;
  return new Promise((resolve) => {
    const startNext = (): void => {
      if (started === requests) return;
      const seed = started;
      started += 1;
      const prompt = Uint32Array.from(
        { length: promptTokens },
        (_, index) => 300 + ((seed * 37 + index * 11) % 900),
      );
      core.submit(
        {
          id: `${performance.now()}-${seed}`,
          prompts: [prompt],
          choicesPerPrompt: 1,
          maxTokens: outputTokens,
          sampling: { ...greedySampling, ignoreEndToken: true },
          stopStrings: [],
          priorityClass: 'interactive',
          tenant: 'bench',
          cacheSalt: `${seed}`,
          queueTimeoutMs: null,
        },
        (event) => {
          if (event.type !== 'finished') return;
          generated += event.usage.completionTokens;
          ended += 1;
          if (ended === requests) resolve(generated);
          else startNext();
        },
      );
    };
    for (let client = 0; client < clients; client += 1) startNext();
  });
}

if (isMain(import.meta.url)) {
  const [modelPath, threads = '2', clients = `${slots}`] = process.argv.slice(2);
  if (modelPath === undefined) throw new Error('usage: tsx bench/tick-profile.ts MODEL [THREADS [CLIENTS]]');
  const profile = await profileTicks(modelPath, Number(threads), 5 * Number(clients) + 5, Number(clients));
  process.stdout.write(`${JSON.stringify(profile, null, 2)}\n`);
  process.exit(0);
}
