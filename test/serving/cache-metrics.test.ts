import { expect, it } from 'vitest';
import type { ModelRuntime } from '../../src/engine/engine.js';
import { createSimulatedRuntime } from '../../src/engine/simulated/simulated-engine.js';
import { ServiceMetrics } from '../../src/metrics/service-metrics.js';
import { type Answer, requestFor, run, startCore } from '../support/core-client.js';

const shape = { slotCount: 2, contextTokens: 512, batchTokens: 128 };
const cost = { perPassMs: 0.5, perTokenMs: 0.25, perContextTokenMs: 0 };

async function readMetric(metrics: ServiceMetrics, name: string): Promise<Record<string, number>> {
  const metric = await metrics.registry.getSingleMetric(`chairlift_${name}`)!.get();
  return Object.fromEntries(
    metric.values.map(({ labels, value }) => [Object.values(labels).join(' '), value]),
  );
}

/** Calls take as long as they should, however busy the machine: what a slot is worth is decided by these times. */
function keepTime({ engine }: ModelRuntime): void {
  const { perPassMs, perTokenMs } = cost;
  const runForReal = engine.run.bind(engine);
  engine.run = async (plan, onToken) => {
    const { result, timings } = await runForReal(plan, onToken);
    const decodeMs = perPassMs * plan.work.passes + perTokenMs * plan.work.tokens;
    return {
      result: result.outcome === 'decoded' ? { ...result, decodeMs } : result,
      timings: { ...timings, decodeMs },
    };
  };
}

it('queries, hits, operations, evictions and snapshots are counted, and agree with what clients were told', async () => {
  const metrics = new ServiceMetrics();
  const runtime = createSimulatedRuntime({ ...shape, cost, meanLengthTokens: 1e9, snapshotBytes: 1e8 });
  const operationCosts = { copyMs: 0.01, fileMs: 0.001, saveMsPerToken: 1e-5, restoreMsPerToken: 1e-5 };
  Object.assign(runtime.engine, { slotAbilities: { ...runtime.engine.slotAbilities, operationCosts } });
  keepTime(runtime);
  const core = startCore(runtime, {
    observer: {
      tick: (info) => metrics.tick(info),
      slotOperation: (info) => metrics.slotOperation(info),
      requestFinished: (info) => metrics.requestFinished(info),
    },
  });
  metrics.readStatsFrom(() => core.stats());
  const answers: Answer[] = [];
  for (const letter of ['a', 'b', 'c', 'd', 'a', 'b', 'c']) {
    answers.push(await run(core, requestFor(core, letter.repeat(200), { maxTokens: 4 })));
  }
  answers.push(await run(core, requestFor(core, 'e'.repeat(200), { maxTokens: 4, choicesPerPrompt: 2 })));
  const usages = answers.flatMap(({ finished }) => finished.map(({ usage }) => usage));
  const cached = usages.reduce((sum, { cachedTokens }) => sum + cachedTokens, 0);
  const hits = await readMetric(metrics, 'prefix_cache_hits_total');
  expect(await readMetric(metrics, 'prefix_cache_queries_total')).toEqual({ '': 9 * 200 });
  expect(Object.values(hits).reduce((sum, tokens) => sum + tokens, 0)).toBe(cached);
  expect(hits.snapshot! + hits['in-place']!).toBe(3 * 199);
  expect(hits['wait-and-copy']).toBe(199);
  expect(await readMetric(metrics, 'prefix_cache_starts_total')).toMatchObject({
    cold: 5,
    'wait-and-copy': 1,
  });
  const operations = await readMetric(metrics, 'slot_operations_total');
  const evictions = await readMetric(metrics, 'prefix_cache_evictions_total');
  expect(operations['restore done']).toBeGreaterThanOrEqual(2);
  expect(operations['save done']).toBeGreaterThanOrEqual(evictions.saved!);
  expect(await readMetric(metrics, 'snapshot_written_bytes_total')).toEqual(
    await readMetric(metrics, 'snapshot_bytes'),
  );
  await core.close(0);
});
