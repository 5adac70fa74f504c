import { throughputFirst } from '../../scheduler/index.js';
import type { ModelRuntime } from '../../src/engine/engine.js';
import { ServiceMetrics } from '../../src/metrics/service-metrics.js';
import { LocalServingCore } from '../../src/serving/local-serving-core.js';
import { type HttpTestOptions, type HttpTestServer, startHttpServer } from './http-test-server.js';

export interface ServingServer extends HttpTestServer {
  core: LocalServingCore;
  /** Faults the core reported; a healthy test leaves it empty. */
  faults: string[];
}

/** The real scheduler, serving core and HTTP layer over any engine, on a free port. */
export async function startServingServer(
  runtime: ModelRuntime,
  options: HttpTestOptions & { maxWaitingTokens?: number } = {},
): Promise<ServingServer> {
  const { maxWaiting = 64, maxWaitingTokens = 100_000 } = options;
  const { contextTokens, slotCount } = runtime.engine;
  const faults: string[] = [];
  const metrics = new ServiceMetrics();
  const core = new LocalServingCore({
    runtime,
    model: {
      id: runtime.name,
      createdSeconds: 1_700_000_000,
      source: 'test',
      sizeBytes: runtime.sizeBytes,
      contextTokens,
      slotCount,
    },
    policy: throughputFirst,
    measurements: [],
    limits: { maxWaiting, maxWaitingTokens },
    observer: metrics,
    nowMs: () => performance.now(),
    onFault: (message, error) => faults.push(`${message}: ${String(error)}`),
  });
  const http = await startHttpServer(core, metrics, { ...options, maxWaiting });
  return {
    ...http,
    core,
    faults,
    async close() {
      await core.close(0);
      await http.close();
    },
  };
}
