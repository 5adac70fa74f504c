import { Counter, Gauge, type Registry } from 'prom-client';
import type { CacheStats } from '../../scheduler/index.js';
import type { ObservedSlotOperation } from './serving-observer.js';

/** What prefix reuse brings and costs. Queries and hits are counted in tokens, as vLLM does. */
export class CacheMetrics {
  private readonly registry: Registry;
  private readonly operations: Counter<'kind' | 'outcome'>;
  private readonly operationSeconds: Counter<'kind'>;
  private readonly writtenBytes: Counter;

  /** @param readStats undefined until there is a scheduler */
  constructor(registry: Registry, readStats: () => CacheStats | undefined) {
    this.registry = registry;
    this.registerTokens(readStats);
    this.registerEvictions(readStats);
    this.operations = new Counter({
      name: 'chairlift_slot_operations_total',
      help: 'Copies, saves and restores of slots between decode calls.',
      labelNames: ['kind', 'outcome'],
      registers: [registry],
    });
    this.operationSeconds = new Counter({
      name: 'chairlift_slot_operation_seconds_total',
      help: 'Time of slot operations; the data of a copy moves within the decode call that follows.',
      labelNames: ['kind'],
      registers: [registry],
    });
    this.writtenBytes = new Counter({
      name: 'chairlift_snapshot_written_bytes_total',
      help: 'Bytes written by saving slots.',
      registers: [registry],
    });
  }

  slotOperation({ kind, ms, bytes, failed }: ObservedSlotOperation): void {
    this.operations.inc({ kind, outcome: failed ? 'failed' : 'done' });
    this.operationSeconds.inc({ kind }, ms / 1000);
    this.writtenBytes.inc(bytes);
  }

  private registerTokens(readStats: () => CacheStats | undefined): void {
    this.count('prefix_cache_queries_total', 'Prompt tokens looked up.', 'none', () => ({
      all: readStats()?.queriedTokens ?? 0,
    }));
    this.count(
      'prefix_cache_hits_total',
      'Prompt tokens that were not computed, by where their KV came from.',
      'kind',
      () => readStats()?.hitTokens ?? {},
    );
    this.count(
      'prefix_cache_starts_total',
      'Sequences by where the KV of their first tokens came from.',
      'kind',
      () => readStats()?.starts ?? {},
    );
  }

  private registerEvictions(readStats: () => CacheStats | undefined): void {
    this.count('prefix_cache_evictions_total', 'Cached KV that went away.', 'reason', () => {
      return readStats()?.evictions ?? {};
    });
    this.gauge('snapshots', 'Slots parked outside of slots.', () => readStats()?.snapshots);
    this.gauge('snapshot_bytes', 'Bytes of parked slots.', () => readStats()?.snapshotBytes);
  }

  private count(name: string, help: string, label: string, read: () => Record<string, number>): void {
    new Counter({
      name: `chairlift_${name}`,
      help,
      labelNames: label === 'none' ? [] : [label],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const [value, total] of Object.entries(read())) {
          if (label === 'none') this.inc(total);
          else this.inc({ [label]: value }, total);
        }
      },
    });
  }

  private gauge(name: string, help: string, read: () => number | undefined): void {
    new Gauge({
      name: `chairlift_${name}`,
      help,
      registers: [this.registry],
      collect() {
        this.set(read() ?? 0);
      },
    });
  }
}
