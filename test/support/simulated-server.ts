import { createSimulatedRuntime, type SimulatedCost } from '../../src/engine/simulated/simulated-engine.js';
import { ServiceMetrics } from '../../src/metrics/service-metrics.js';
import { LocalServingCore } from '../../src/serving/local-serving-core.js';
import { type HttpTestOptions, type HttpTestServer, startHttpServer } from './http-test-server.js';

export interface SimulatedServerOptions extends HttpTestOptions {
  slotCount?: number;
  contextTokens?: number;
  maxWaiting?: number;
  maxWaitingTokens?: number;
  batchTokens?: number;
  meanLengthTokens?: number;
  cost?: SimulatedCost;
}

export interface SimulatedServer extends HttpTestServer {
  core: LocalServingCore;
  /** Faults the core reported; a healthy test leaves it empty. */
  faults: string[];
}

/** As fast as timers allow: about a millisecond per tick. */
const fastCost: SimulatedCost = { perPassMs: 0, perTokenMs: 0, perContextTokenMs: 0 };

/** The real scheduler, serving core and HTTP layer over the simulated engine, on a free port. */
export async function startSimulatedServer(options: SimulatedServerOptions = {}): Promise<SimulatedServer> {
  const { slotCount = 4, contextTokens = 512, maxWaiting = 64, maxWaitingTokens = 100_000 } = options;
  const faults: string[] = [];
  const metrics = new ServiceMetrics();
  const core = new LocalServingCore({
    runtime: createSimulatedRuntime({
      slotCount,
      contextTokens,
      batchTokens: options.batchTokens ?? 512,
      cost: options.cost ?? fastCost,
      meanLengthTokens: options.meanLengthTokens ?? 20,
    }),
    model: {
      id: 'simulated',
      createdSeconds: 1_700_000_000,
      source: 'simulated',
      sizeBytes: 0,
      contextTokens,
      slotCount,
    },
    limits: { maxWaiting, maxWaitingTokens },
    observer: metrics,
    nowMs: () => performance.now(),
    onFault: (message, error) => faults.push(`${message}: ${String(error)}`),
  });
  const http = await startHttpServer(core, metrics, { maxWaiting, ...options });
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
