import { loadLlamaRuntime } from '../../src/engine/llama/load-llama-runtime.js';
import type { HttpTestOptions } from './http-test-server.js';
import { tinyModelPath } from './models.js';
import { type ServingServer, startServingServer } from './serving-server.js';

/** Everything real, over the bundled tiny model. */
export async function startTinyServer(
  options: HttpTestOptions & { slotCount?: number; contextTokens?: number } = {},
): Promise<ServingServer> {
  const runtime = await loadLlamaRuntime({
    modelPath: tinyModelPath,
    slots: options.slotCount ?? 8,
    contextTokens: options.contextTokens ?? 512,
    batchTokens: 256,
    threads: 2,
  });
  return startServingServer(runtime, options);
}
