import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { PriorityClass } from '../../scheduler/index.js';
import type { ErrorCode } from '../errors.js';
import * as buckets from './buckets.js';
import type { OverflowObserver } from './overflow-observer.js';

/** What waits in the overflow, by class. */
export interface OverflowDepth {
  queued: Record<PriorityClass, number>;
  oldestMs: Record<PriorityClass, number>;
}

export interface OverflowMetricsOptions {
  registry: Registry;
  store: 'memory' | 'redis';
  /** May reject while Redis is away; the gauges then keep what they had. */
  depth: () => Promise<OverflowDepth>;
  isUp: () => boolean;
  /** The rejections of the whole service, where those of the overflow count too. */
  onRefused: (code: ErrorCode) => void;
}

/** Prometheus metrics of the overflow; names start with `chairlift_overflow_`. */
export class OverflowMetrics implements OverflowObserver {
  private readonly options: OverflowMetricsOptions;
  private readonly wait: Histogram;
  private readonly delay: Histogram;
  private readonly bytes: Counter;
  private readonly events: Counter<'event'>;

  constructor(options: OverflowMetricsOptions) {
    this.options = options;
    const { registry, store } = options;
    const registers = [registry];
    this.wait = new Histogram({
      name: 'chairlift_overflow_wait_seconds',
      help: 'Arrival of a request to its place in the line of the process that took it from the overflow.',
      labelNames: ['store'],
      buckets: buckets.requestLatencySeconds,
      registers,
    });
    this.wait.zero({ store });
    this.delay = new Histogram({
      name: 'chairlift_overflow_relay_delay_seconds',
      help: 'A token, or the first of several, from its worker through Redis to the process with the client.',
      buckets: [0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.04, 0.06, 0.1, 0.2, 0.5, 1, 5],
      registers,
    });
    this.bytes = new Counter({
      name: 'chairlift_overflow_relay_bytes_total',
      help: 'Bytes of frames that this process sent through Redis.',
      registers,
    });
    this.events = new Counter({
      name: 'chairlift_overflow_events_total',
      help: 'What became of requests in the overflow, by event.',
      labelNames: ['event'],
      registers,
    });
    for (const event of ['drained', 'expired', 'retried', 'fenced', 'parked', 'dropped', 'refused'])
      this.events.inc({ event }, 0);
    this.registerDepth();
  }

  drained(waitMs: number): void {
    this.events.inc({ event: 'drained' });
    this.wait.observe({ store: this.options.store }, waitMs / 1000);
  }

  refused(code: ErrorCode): void {
    this.events.inc({ event: 'refused' });
    this.options.onRefused(code);
  }

  expired(): void {
    this.events.inc({ event: 'expired' });
  }

  retried(): void {
    this.events.inc({ event: 'retried' });
  }

  fenced(): void {
    this.events.inc({ event: 'fenced' });
  }

  parked(): void {
    this.events.inc({ event: 'parked' });
  }

  dropped(): void {
    this.events.inc({ event: 'dropped' });
  }

  relaySent(bytes: number): void {
    this.bytes.inc(bytes);
  }

  relayDelay(delayMs: number): void {
    this.delay.observe(Math.max(0, delayMs) / 1000);
  }

  private registerDepth(): void {
    const { registry, depth, isUp } = this.options;
    const oldest = new Gauge({
      name: 'chairlift_overflow_oldest_seconds',
      help: 'How long the oldest request in the overflow has waited, by class.',
      labelNames: ['class'],
      registers: [registry],
    });
    new Gauge({
      name: 'chairlift_overflow_depth',
      help: 'Requests in the overflow that nobody has begun with, by class; in Redis, of all processes.',
      labelNames: ['class'],
      registers: [registry],
      async collect() {
        const { queued, oldestMs } = await depth().catch(() => ({ queued: {}, oldestMs: {} }));
        for (const [name, count] of Object.entries(queued)) this.set({ class: name }, count);
        for (const [name, ageMs] of Object.entries(oldestMs)) oldest.set({ class: name }, ageMs / 1000);
      },
    });
    new Gauge({
      name: 'chairlift_overflow_up',
      help: '1 while the overflow takes requests; 0 while Redis is away.',
      registers: [registry],
      collect() {
        this.set(isUp() ? 1 : 0);
      },
    });
  }
}
