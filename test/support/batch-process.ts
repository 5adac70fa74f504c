import { throughputFirst } from '../../scheduler/index.js';
import { BatchKeeper } from '../../src/batch/batch-keeper.js';
import { createSimulatedRuntime } from '../../src/engine/simulated/simulated-engine.js';
import { ServiceMetrics } from '../../src/metrics/service-metrics.js';
import { LocalServingCore } from '../../src/serving/local-serving-core.js';

/** A process of its own that runs the batch jobs of a data directory, for tests that kill it. Begins when told to. */
const [dataDirectory] = process.argv.slice(2) as [string];
const slotCount = 4;
const runtime = createSimulatedRuntime({
  ...{ slotCount, contextTokens: 256, batchTokens: 256, meanLengthTokens: 8 },
  cost: { perPassMs: 1, perTokenMs: 0, perContextTokenMs: 0 },
});
const metrics = new ServiceMetrics();
const onFault = (message: string, error: unknown) => console.error(message, error);
const core = new LocalServingCore({
  ...{ runtime, policy: throughputFirst, measurements: [], observer: metrics, onFault },
  model: { id: 'simulated', createdSeconds: 0, source: 'test', sizeBytes: 0, contextTokens: 256, slotCount },
  limits: { maxWaiting: 64, maxWaitingTokens: 100_000 },
  nowMs: () => performance.now(),
});
const keeper = new BatchKeeper({
  config: {
    ...{ dataDirectory, maxDataBytes: 1e9, maxBatchFileBytes: 1e9, maxBatchLines: 1000 },
    ...{ batchLinesInFlight: null, maxBodyBytes: 100_000, maxWaiting: 64 },
  },
  ...{ core, registry: metrics.registry, onFault, slotCount: () => slotCount },
});
console.log('loaded');
process.stdin.once('data', () => {
  keeper.start();
  console.log('started');
});
