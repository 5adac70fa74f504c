import { Counter, Gauge, Histogram, Registry } from 'prom-client';
import type { FinishReason, SchedulerStats } from '../../scheduler/index.js';
import type { ErrorCode } from '../errors.js';
import * as buckets from './buckets.js';
import { CacheMetrics } from './cache-metrics.js';
import type {
  FinishedRequest,
  ObservedSlotOperation,
  ObservedTick,
  ServingObserver,
} from './serving-observer.js';

const finishReasons: readonly FinishReason[] = ['stop', 'length', 'cancelled', 'expired', 'error'];

/** The Prometheus metrics of one server, in a registry of its own. Names start with `chairlift_`. */
export class ServiceMetrics implements ServingObserver {
  readonly registry = new Registry();

  private stats: (() => SchedulerStats) | null = null;

  private readonly timeToFirstToken = this.histogram(
    'time_to_first_token_seconds',
    'Arrival of a request to its first token.',
    buckets.timeToFirstTokenSeconds,
  );
  private readonly interTokenLatency = this.histogram(
    'inter_token_latency_seconds',
    'Every gap between two tokens of one sequence.',
    buckets.interTokenLatencySeconds,
  );
  private readonly requestLatency = this.histogram(
    'e2e_request_latency_seconds',
    'Arrival of a request to its last token.',
    buckets.requestLatencySeconds,
  );
  private readonly queueTime = this.histogram(
    'request_queue_time_seconds',
    'Time a sequence waited for a slot.',
    buckets.requestLatencySeconds,
  );
  private readonly tickRows = this.histogram('tick_rows', 'Rows of one decode call.', buckets.rowCounts);
  private readonly tickPasses = this.histogram(
    'tick_passes',
    'Trips over the weights in one decode call.',
    buckets.passCounts,
  );
  private readonly tickTokens = this.histogram(
    'tick_tokens',
    'Tokens of one decode call.',
    buckets.tokenCounts,
  );
  private readonly tickDecode = this.histogram(
    'tick_decode_seconds',
    'Native decode time of one tick.',
    buckets.tickDecodeSeconds,
  );
  private readonly tickSampling = this.histogram(
    'tick_sampling_seconds',
    'Time one tick waited for its samples.',
    buckets.tickOverheadSeconds,
  );
  private readonly tickJavascript = this.histogram(
    'tick_javascript_seconds',
    'Time of one tick that was neither decoding nor sampling.',
    buckets.tickOverheadSeconds,
  );

  private readonly promptTokens = this.counter('prompt_tokens_total', 'Prompt tokens of finished sequences.');
  private readonly cachedPromptTokens = this.counter(
    'cached_prompt_tokens_total',
    'Prompt tokens of finished sequences whose KV was reused.',
  );
  private readonly generationTokens = this.counter(
    'generation_tokens_total',
    'Generated tokens of finished sequences.',
  );
  private readonly finished = this.labelledCounter(
    'request_success_total',
    'Finished sequences by the way they ended.',
    'finished_reason',
  );
  private readonly rejected = this.labelledCounter(
    'request_rejections_total',
    'Requests answered with an error, by its code.',
    'reason',
  );

  private readonly tickThreads = this.labelledCounter(
    'ticks_total',
    'Decode calls by number of threads.',
    'threads',
  );
  private readonly holds = this.counter(
    'tick_hold_seconds_total',
    'Time in which ticks were held for requests expected right after an answer.',
  );
  private readonly slotMismatches = this.counter(
    'slot_mismatches_total',
    'Slots that held something else than the scheduler thought; each was emptied and computed again.',
  );

  private readonly cache = new CacheMetrics(this.registry, () => this.stats?.().cache);

  constructor() {
    for (const reason of finishReasons) this.finished.inc({ finished_reason: reason }, 0);
    this.rejected.inc({ reason: 'queue_full' satisfies ErrorCode }, 0);
    this.rejected.inc({ reason: 'wait_too_long' satisfies ErrorCode }, 0);
    this.registerGauges();
    this.registerCostGauges();
    this.registerPreemptions();
  }

  /** Where the gauges read the scheduler's state at each scrape; until it is called they are zero. */
  readStatsFrom(stats: () => SchedulerStats): void {
    this.stats = stats;
  }

  requestStarted(waitMs: number): void {
    this.queueTime.observe(waitMs / 1000);
  }

  firstToken(ttftMs: number): void {
    this.timeToFirstToken.observe(ttftMs / 1000);
  }

  nextToken(gapMs: number): void {
    this.interTokenLatency.observe(gapMs / 1000);
  }

  requestFinished(info: FinishedRequest): void {
    this.finished.inc({ finished_reason: info.reason });
    this.requestLatency.observe(info.durationMs / 1000);
    this.promptTokens.inc(info.promptTokens);
    this.cachedPromptTokens.inc(info.cachedTokens);
    this.generationTokens.inc(info.completionTokens);
  }

  requestRejected(code: ErrorCode): void {
    this.rejected.inc({ reason: code });
  }

  tick(info: ObservedTick): void {
    this.tickRows.observe(info.rows);
    this.tickPasses.observe(info.passes);
    this.tickTokens.observe(info.tokens);
    this.tickThreads.inc({ threads: info.threads });
    this.tickDecode.observe(info.decodeMs / 1000);
    this.tickSampling.observe(info.samplingMs / 1000);
    this.tickJavascript.observe(info.javascriptMs / 1000);
  }

  held(ms: number): void {
    this.holds.inc(ms / 1000);
  }

  slotOperation(info: ObservedSlotOperation): void {
    this.cache.slotOperation(info);
  }

  slotMismatch(): void {
    this.slotMismatches.inc();
  }

  private registerGauges(): void {
    this.gauge('num_requests_running', 'Sequences that hold a slot.', (stats) => stats.running);
    this.gauge('num_requests_waiting', 'Sequences that wait for a slot.', (stats) => stats.waiting);
    this.gauge('waiting_tokens', 'Prompt tokens that wait for a slot.', (stats) => stats.waitingTokens);
    const readStats = () => this.stats?.();
    new Gauge({
      name: 'chairlift_slots',
      help: 'Slots by state: running a sequence, holding reusable KV, empty.',
      labelNames: ['state'],
      registers: [this.registry],
      collect() {
        const stats = readStats();
        this.set({ state: 'running' }, stats?.running ?? 0);
        this.set({ state: 'cached' }, stats?.cachedSlots ?? 0);
        this.set({ state: 'empty' }, stats?.emptySlots ?? 0);
      },
    });
  }

  private registerPreemptions(): void {
    const readStats = () => this.stats?.();
    new Counter({
      name: 'chairlift_preemptions_total',
      help: 'Sequences that gave up their slot to a higher class, by what became of their KV.',
      labelNames: ['kv'],
      registers: [this.registry],
      collect() {
        this.reset();
        const { saved, left } = readStats()?.preemptions ?? { saved: 0, left: 0 };
        this.inc({ kv: 'saved' }, saved);
        this.inc({ kv: 'left' }, left);
      },
    });
  }

  private registerCostGauges(): void {
    const readStats = () => this.stats?.();
    this.gauge(
      'itl_target_seconds',
      'Gap between tokens that prefill must not exceed.',
      (stats) => stats.itlTargetMs / 1000,
    );
    new Gauge({
      name: 'chairlift_cost_model_seconds',
      help: 'Fitted cost of a decode call per unit of work, by number of threads.',
      labelNames: ['threads', 'per'],
      registers: [this.registry],
      collect() {
        for (const { threads, coefficients } of readStats()?.costs ?? []) {
          this.set({ threads, per: 'pass' }, coefficients.perPassMs / 1000);
          this.set({ threads, per: 'token' }, coefficients.perTokenMs / 1000);
          this.set({ threads, per: 'sampled_row' }, coefficients.perSampledRowMs / 1000);
          this.set({ threads, per: 'attended_token' }, coefficients.perAttendedTokenMs / 1000);
          this.set({ threads, per: 'leftover_token' }, coefficients.perLeftoverTokenMs / 1000);
        }
      },
    });
    new Gauge({
      name: 'chairlift_cost_model_error_ratio',
      help: 'Mean of |predicted - measured| / measured over the latest decode calls, by number of threads.',
      labelNames: ['threads'],
      registers: [this.registry],
      collect() {
        for (const { threads, relativeError } of readStats()?.costs ?? [])
          this.set({ threads }, relativeError);
      },
    });
  }

  private gauge(name: string, help: string, read: (stats: SchedulerStats) => number): void {
    const readStats = () => this.stats?.();
    new Gauge({
      name: `chairlift_${name}`,
      help,
      registers: [this.registry],
      collect() {
        const stats = readStats();
        this.set(stats === undefined ? 0 : read(stats));
      },
    });
  }

  private histogram(name: string, help: string, bounds: number[]): Histogram {
    return new Histogram({ name: `chairlift_${name}`, help, buckets: bounds, registers: [this.registry] });
  }

  private counter(name: string, help: string): Counter {
    return new Counter({ name: `chairlift_${name}`, help, registers: [this.registry] });
  }

  private labelledCounter<Label extends string>(name: string, help: string, label: Label): Counter<Label> {
    return new Counter({
      name: `chairlift_${name}`,
      help,
      labelNames: [label],
      registers: [this.registry],
    });
  }
}
