import { setTimeout as sleep } from 'node:timers/promises';
import { OverflowPolicy, type PriorityClass, type SchedulerStats } from '../../scheduler/index.js';
import type { TextCodec } from '../engine/text-codec.js';
import { ServiceError } from '../errors.js';
import type { OverflowObserver } from '../metrics/overflow-observer.js';
import { noStats } from '../serving/no-stats.js';
import type {
  GenerationEvent,
  GenerationRequest,
  ModelDescription,
  ServingCore,
  ServingState,
} from '../serving/serving-core.js';
import type { TraceEvent } from '../serving/tick-trace.js';
import { WaitEstimator } from '../serving/wait-estimator.js';
import { AcceptGate, overflowUnavailable } from './accept-gate.js';
import { Drain } from './drain.js';
import { choicesOf } from './job-cost.js';
import type { OverflowStore } from './overflow-store.js';

/** How long a request without tokens waits for a worker's objections before its stream begins. */
const objectionMs = 2_000;
const closePollMs = 25;

export interface OverflowCoreOptions {
  /** null: a gateway, which computes nothing. */
  local: ServingCore | null;
  store: OverflowStore;
  /** For a gateway: the model of its workers; null while none has been seen. */
  announcedModel: () => ModelDescription | null;
  /** Milliseconds of estimated wait beyond which a request goes to the store although the line has room. */
  targetWaitMs: Record<PriorityClass, number>;
  observer: OverflowObserver;
  onFault: (message: string, error: unknown) => void;
}

/**
 * A core whose full line overflows into a store that this and other processes drain. Without a local core it only
 * hands on.
 */
export class OverflowCore implements ServingCore {
  private readonly options: OverflowCoreOptions;
  private readonly local: ServingCore | null;
  private readonly store: OverflowStore;
  private readonly policy = new OverflowPolicy();
  private readonly estimator = new WaitEstimator();
  private readonly drain: Drain | null;
  /** Requests that are with the store, or that it gave to somebody, by id. */
  private readonly handedOn = new Set<string>();
  private closing = false;

  constructor(options: OverflowCoreOptions) {
    const { local, store, observer, onFault } = options;
    this.options = options;
    this.local = local;
    this.store = store;
    this.drain =
      local &&
      new Drain({
        core: local,
        store,
        policy: this.policy,
        line: () => this.line(),
        onStart: (waitMs) => observer.drained(waitMs),
        onEnd: () => this.sequenceEnded(),
        onFault,
      });
    this.drain?.wake();
  }

  get model(): ModelDescription {
    return this.local?.model ?? this.options.announcedModel() ?? unknownModel;
  }

  get codec(): TextCodec | null {
    return this.local?.codec ?? null;
  }

  get state(): ServingState {
    if (this.closing) return 'draining';
    if (this.local) return this.local.state;
    return this.options.announcedModel() === null ? 'loading' : 'ready';
  }

  /** Sequences that finish here per second. */
  get finishedPerSecond(): number {
    return this.estimator.finishedPerSecond;
  }

  retryAfterSeconds(waiting: number): number {
    return this.estimator.retryAfterSeconds(waiting);
  }

  assertAccepting(): void {
    if (this.closing)
      throw this.counted(
        new ServiceError('draining', 'the server is shutting down', { retryAfterSeconds: 5 }),
      );
    if (this.local) {
      if (this.local.state !== 'ready') this.local.assertAccepting();
    } else if (this.store.redis !== 'up') throw this.counted(overflowUnavailable());
    else if (this.state === 'loading')
      throw new ServiceError('loading', 'no worker has been seen yet', { retryAfterSeconds: 2 });
  }

  expectedWaitMs(priorityClass: PriorityClass, tenant: string): number {
    // With Redis the policy decides where it waits, and others may take it sooner.
    if (!this.local || this.store.redis === 'up') return 0;
    return this.local.expectedWaitMs(priorityClass, tenant, this.store.queuedAhead(priorityClass));
  }

  submit(request: GenerationRequest, onEvent: (event: GenerationEvent) => void): void | Promise<void> {
    this.assertAccepting();
    const needsLog = request.resumable === true && this.store.redis === 'up';
    if (this.local && !needsLog && this.admitsDirectly(request)) {
      try {
        return this.local.submit(request, (event) => {
          onEvent(event);
          if (event.type === 'finished') this.sequenceEnded();
        });
      } catch (error) {
        if (!(error instanceof ServiceError) || error.code !== 'queue_full') throw error;
        this.policy.lineRefused();
      }
    }
    return this.handOn(request, onEvent);
  }

  abort(requestId: string): void {
    // Whoever computes a request that was handed on hears of it from the store; a resumable one goes on.
    if (this.handedOn.delete(requestId)) this.store.cancel(requestId);
    else this.local?.abort(requestId);
    this.drain?.wake();
  }

  stats(): SchedulerStats {
    return this.local?.stats() ?? noStats;
  }

  trace(ticks: number): Promise<TraceEvent[]> {
    if (this.local) return this.local.trace(ticks);
    throw new ServiceError('not_found', 'this gateway computes nothing; ask a worker');
  }

  async close(deadlineMs: number): Promise<void> {
    this.closing = true;
    this.drain?.stop();
    const deadlineAtMs = performance.now() + deadlineMs;
    await Promise.all([this.local?.close(deadlineMs), this.handedOnEnded(deadlineAtMs)]);
    await this.store.close();
  }

  private admitsDirectly(request: GenerationRequest): boolean {
    // Without Redis nobody else can help: the line is as good as any place until it is full.
    if (this.store.redis === 'degraded') return true;
    const { tenant } = request;
    const queuedOfTenant = this.store.queuedOf(tenant) + (this.drain?.brings(tenant) ? 1 : 0);
    const newcomer = {
      choices: choicesOf(request),
      targetWaitMs:
        this.store.redis === 'up'
          ? this.options.targetWaitMs[request.priorityClass]
          : Number.POSITIVE_INFINITY,
      queuedOfTenant,
    };
    return this.policy.admitsDirectly(newcomer, this.line(), this.store.queued);
  }

  private handOn(request: GenerationRequest, onEvent: (event: GenerationEvent) => void): Promise<void> {
    let unfinished = choicesOf(request);
    const gate = new AcceptGate((event) => {
      if (event.type === 'finished') unfinished -= 1;
      if (event.type === 'finished' && (unfinished === 0 || event.failure)) this.handedOn.delete(request.id);
      onEvent(event);
    });
    this.handedOn.add(request.id);
    const arrivedAtMs = Date.now();
    const { queueTimeoutMs } = request;
    const deadlineAtMs = queueTimeoutMs === null ? null : arrivedAtMs + queueTimeoutMs;
    this.store
      .add({ request, arrivedAtMs, deadlineAtMs }, (event) => gate.receive(event))
      .then(
        () => gate.queued(this.codec === null ? objectionMs : 0),
        (error) => {
          this.handedOn.delete(request.id);
          gate.refuse(error instanceof ServiceError ? this.counted(error) : error);
        },
      );
    return gate.accepted;
  }

  private counted(error: ServiceError): ServiceError {
    this.options.observer.refused(error.code);
    return error;
  }

  private line() {
    const { cachedSlots, emptySlots, waiting } = this.stats();
    return { freeSlots: cachedSlots + emptySlots, waiting, estimatedWaitMs: this.estimator.waitMs(waiting) };
  }

  private sequenceEnded(): void {
    this.slotFreed();
    this.drain?.wake();
  }

  private slotFreed(): void {
    this.estimator.finished(performance.now(), this.stats());
    this.policy.slotFreed();
  }

  private async handedOnEnded(deadlineAtMs: number): Promise<void> {
    // Once nothing is drained here, only what others compute will come to its end.
    const left = () => (this.local ? this.store.elsewhere : this.handedOn.size);
    while (left() > 0 && performance.now() < deadlineAtMs) await sleep(closePollMs);
  }
}

const unknownModel: ModelDescription = {
  id: 'unknown',
  createdSeconds: 0,
  source: 'no worker has been seen yet',
  sizeBytes: 0,
  contextTokens: 0,
  slotCount: 0,
};
