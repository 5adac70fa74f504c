import { basename } from 'node:path';
import { type Logger, pino } from 'pino';
import type { ServeConfig } from './config/config.js';
import type { ModelRuntime } from './engine/engine.js';
import { loadLlamaRuntime } from './engine/llama/load-llama-runtime.js';
import { createSimulatedRuntime, defaultSimulatedCost } from './engine/simulated/simulated-engine.js';
import { createHttpServer } from './http/server.js';
import { ServiceMetrics } from './metrics/service-metrics.js';
import { LoadingCore } from './serving/loading-core.js';
import { LocalServingCore } from './serving/local-serving-core.js';
import type { ModelDescription, ServingCore } from './serving/serving-core.js';

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
  const http = createHttpServer({ core, config, metrics, logger });
  const url = await http.listen({ host: config.host, port: config.port });
  try {
    const runtime = await loadRuntime(config);
    const model = describeModel(config, runtime);
    core.becomeReady(startCore(config, runtime, model, metrics, logger));
  } catch (error) {
    await http.close();
    throw error;
  }
  let closed: Promise<void> | null = null;
  const close = () => {
    closed ??= core.close(config.shutdownMs).then(() => http.close());
    return closed;
  };
  return { url, core, close };
}

function startCore(
  config: ServeConfig,
  runtime: ModelRuntime,
  model: ModelDescription,
  metrics: ServiceMetrics,
  logger: Logger,
): ServingCore {
  const { maxWaiting, maxWaitingTokens } = config;
  return new LocalServingCore({
    runtime,
    model,
    limits: { maxWaiting, maxWaitingTokens },
    observer: metrics,
    nowMs: () => performance.now(),
    onFault: (message, error) => logger.error({ err: error }, message),
  });
}

async function loadRuntime(config: ServeConfig): Promise<ModelRuntime> {
  const { slots, contextTokens, batchTokens, threads } = config;
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
  return loadLlamaRuntime({ modelPath: config.model, slots, contextTokens, batchTokens, threads });
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
  };
}
