import { basename } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { type Logger, pino } from 'pino';
import { BatchKeeper } from './batch/batch-keeper.js';
import { addBatchRoutes } from './batch/batch-routes.js';
import { addFileRoutes } from './batch/file-routes.js';
import type { ServeConfig } from './config/config.js';
import type { ModelRuntime } from './engine/engine.js';
import { loadLlamaRuntime } from './engine/llama/load-llama-runtime.js';
import { createSimulatedRuntime, defaultSimulatedCost } from './engine/simulated/simulated-engine.js';
import { createHttpServer } from './http/server.js';
import { OverflowMetrics } from './metrics/overflow-metrics.js';
import { ServiceMetrics } from './metrics/service-metrics.js';
import { Overflow } from './overflow/overflow.js';
import { calibrate, type Measurement, threadChoicesUpTo } from './serving/calibration.js';
import { calibrationFile, readCalibration, writeCalibration } from './serving/calibration-file.js';
import type { CallCost } from './serving/call-cost.js';
import { LoadingCore } from './serving/loading-core.js';
import { LocalServingCore } from './serving/local-serving-core.js';
import { measureCallCost } from './serving/measure-call-cost.js';
import type { ModelDescription, ServingCore } from './serving/serving-core.js';

const calibrationLimitMs = 2_000;
const costLimitMs = 30_000;
const nowMs = () => performance.now();
const processorMs = () => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

export interface RunningServer {
  /** `http://host:port`, with the port the system chose when 0 was asked for. */
  url: string;
  core: ServingCore;
  /** Stops admission, lets requests finish for `config.shutdownMs`, frees the port and the model. Idempotent. */
  close(): Promise<void>;
}

/**
 * Builds every adapter and serves: the only place that does. /health answers 503 while the model loads; the promise
 * resolves when it is ready.
 * @param config with `model` resolved to a path, unless the engine is simulated
 * @throws Error in plain words when the port is taken or the model cannot be loaded
 */
export async function startServer(config: ServeConfig): Promise<RunningServer> {
  const logger = pino({ level: config.logLevel }, pino.destination({ dest: 2, sync: false }));
  const metrics = new ServiceMetrics();
  const announced = describeModel(config, null);
  const core = new LoadingCore(announced);
  metrics.readStatsFrom(() => core.stats());
  const onFault = (message: string, error: unknown) => logger.error({ err: error }, message);
  const observer: OverflowMetrics = new OverflowMetrics({
    registry: metrics.registry,
    store: config.redisUrl === null ? 'memory' : 'redis',
    depth: () => overflow.depth(),
    isUp: () => overflow.redis !== 'degraded',
    onRefused: (code) => metrics.requestRejected(code),
  });
  const overflow = new Overflow({ config, observer, onFault });
  const batches = new BatchKeeper({
    ...{ config, core, registry: metrics.registry, onFault },
    slotCount: () => (config.role === 'gateway' ? overflow.fleetSlotCount : core.model.slotCount),
  });
  const addMoreRoutes = (scope: FastifyInstance) => {
    addFileRoutes(scope, batches);
    addBatchRoutes(scope, batches);
    if (config.queueDashboard) overflow.addDashboard(scope);
  };
  const onlyStatus = config.role === 'worker';
  const http = createHttpServer({ core, config, metrics, overflow, onlyStatus, logger, addMoreRoutes });
  const url = await http.listen({ host: config.host, port: config.port });
  try {
    const local = config.role === 'gateway' ? null : await openCore(config, metrics, logger);
    core.becomeReady(overflow.inFrontOf(local));
    // A worker takes its work from others.
    if (!onlyStatus) batches.start();
  } catch (error) {
    await overflow.close();
    await http.close();
    throw error;
  }
  let closed: Promise<void> | null = null;
  const close = () => {
    closed ??= batches
      .close()
      .then(() => core.close(config.shutdownMs))
      .then(() => http.close());
    return closed;
  };
  return { url, core, close };
}

/**
 * A serving core with its model, without a server around it.
 * @throws Error in plain words when the model cannot be loaded
 */
export async function openCore(
  config: ServeConfig,
  metrics: ServiceMetrics,
  logger: Logger,
): Promise<ServingCore> {
  const runtime = await loadRuntime(config);
  if (!runtime.engine.slotAbilities.reusePrefixes)
    logger.warn('this model cannot forget the tail of a slot: every prompt is computed from its start');
  const model = describeModel(config, runtime);
  const measurements = await measure(config, runtime);
  return startCore({ config, runtime, model, measurements, metrics, logger });
}

interface CoreParts {
  config: ServeConfig;
  runtime: ModelRuntime;
  model: ModelDescription;
  measurements: readonly Measurement[];
  metrics: ServiceMetrics;
  logger: Logger;
}

function startCore({ config, runtime, model, measurements, metrics, logger }: CoreParts): ServingCore {
  const { maxWaiting, maxWaitingTokens, itlTargetMs, ttftTargetsMs } = config;
  return new LocalServingCore({
    runtime,
    model,
    policy: { itlTargetMs, ttftTargetsMs, threadChoices: threadChoicesUpTo(runtime.threads) },
    measurements,
    limits: { maxWaiting, maxWaitingTokens },
    observer: metrics,
    canOverflow: config.redisUrl !== null || config.maxOverflow > 0,
    nowMs,
    onFault: (message, error) => logger.error({ err: error }, message),
  });
}

/** What decode calls cost: from the cache, else by trying, which takes a second or two. */
async function measure(
  config: ServeConfig,
  { engine, threads, native }: ModelRuntime,
): Promise<readonly Measurement[]> {
  if (!config.calibrate || config.model === null) return [];
  const { slotCount, contextTokens, batchTokens } = engine;
  const subject = { modelPath: config.model, native, slotCount, contextTokens, batchTokens, threads };
  const file = await calibrationFile(config.modelCacheDirectory, subject);
  const stored = await readCalibration(file);
  if (stored) return stored;
  const clocks = { nowMs, processorMs };
  const { measurements, undisturbed } = await calibrate(
    engine,
    threadChoicesUpTo(threads),
    calibrationLimitMs,
    clocks,
  );
  if (undisturbed) await writeCalibration(file, measurements);
  return measurements;
}

/** What `chairlift doctor --cost` writes and `chairlift plan --cost-from` reads. */
export interface MeasuredCost {
  model: string;
  slots: number;
  contextTokens: number;
  batchTokens: number;
  threads: number;
  cost: CallCost;
}

/**
 * Loads the model as `startServer` would, times calls and lets go of it again.
 * @param config with `model` resolved to a path, unless the engine is simulated
 */
export async function measureCost(config: ServeConfig): Promise<MeasuredCost> {
  const { engine, name, threads } = await loadRuntime(config);
  const threadChoices = threadChoicesUpTo(threads);
  const cost = await measureCallCost(engine, { threadChoices, limitMs: costLimitMs, nowMs });
  await engine.close();
  const { slotCount, contextTokens, batchTokens } = engine;
  return { model: name, slots: slotCount, contextTokens, batchTokens, threads, cost };
}

async function loadRuntime(config: ServeConfig): Promise<ModelRuntime> {
  const { slots, contextTokens, batchTokens, threads, snapshotDirectory, snapshotBytes } = config;
  if (config.engine === 'simulated') {
    const slotCount = slots ?? 32;
    return createSimulatedRuntime({
      slotCount,
      contextTokens: contextTokens ?? 2048,
      batchTokens: Math.max(batchTokens, slotCount),
      cost: defaultSimulatedCost,
      meanLengthTokens: 200,
    });
  }
  if (config.model === null) throw new Error('no model was resolved');
  const shape = { slots, contextTokens, batchTokens, threads };
  return loadLlamaRuntime({
    modelPath: config.model,
    native: config.native,
    ...shape,
    snapshotDirectory,
    snapshotBytes,
  });
}

function describeModel(config: ServeConfig, runtime: ModelRuntime | null): ModelDescription {
  const source = config.model ?? 'simulated';
  return {
    id: runtime?.name ?? basename(source).replace(/\.gguf$/i, ''),
    createdSeconds: Math.floor(Date.now() / 1000),
    source,
    sizeBytes: runtime?.sizeBytes ?? 0,
    contextTokens: runtime?.engine.contextTokens ?? 0,
    slotCount: runtime?.engine.slotCount ?? 0,
    ...(runtime && { native: runtime.native }),
  };
}
