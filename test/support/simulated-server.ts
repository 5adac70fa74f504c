import { createSimulatedRuntime, type SimulatedCost } from '../../src/engine/simulated/simulated-engine.js';
import type { HttpTestOptions } from './http-test-server.js';
import { type ServingServer, startServingServer } from './serving-server.js';

export interface SimulatedServerOptions extends HttpTestOptions {
  slotCount?: number;
  contextTokens?: number;
  batchTokens?: number;
  meanLengthTokens?: number;
  maxWaitingTokens?: number;
  cost?: SimulatedCost;
}

/** As fast as timers allow: about a millisecond per tick. */
const fastCost: SimulatedCost = { perPassMs: 0, perTokenMs: 0, perContextTokenMs: 0 };

/** Everything real but the arithmetic. */
export function startSimulatedServer(options: SimulatedServerOptions = {}): Promise<ServingServer> {
  const runtime = createSimulatedRuntime({
    slotCount: options.slotCount ?? 4,
    contextTokens: options.contextTokens ?? 512,
    batchTokens: options.batchTokens ?? 512,
    cost: options.cost ?? fastCost,
    meanLengthTokens: options.meanLengthTokens ?? 20,
  });
  return startServingServer(runtime, options);
}
