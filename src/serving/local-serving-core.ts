import {
  type FinishedEvent,
  isEndOf,
  type PriorityClass,
  type Rejection,
  Scheduler,
  type SchedulerEvent,
  type SchedulerStats,
  type SchedulingPolicy,
  type SequenceSpec,
} from '../../scheduler/index.js';
import type { Engine, ModelRuntime } from '../engine/engine.js';
import type { TextCodec } from '../engine/text-codec.js';
import { ServiceError } from '../errors.js';
import type { ServingObserver } from '../metrics/serving-observer.js';
import { leftoverShare, type Measurement } from './calibration.js';
import { ClassWaits } from './class-waits.js';
import { LiveChoice, LiveRequest } from './live-request.js';
import { tokenizeWithin } from './prompt-tokens.js';
import type {
  GenerationEvent,
  GenerationRequest,
  ModelDescription,
  ServingCore,
  ServingState,
} from './serving-core.js';
import { TickLoop } from './tick-loop.js';
import { TickTrace, type TraceEvent } from './tick-trace.js';

const traceLimitMs = 30_000;

export interface LocalServingCoreOptions {
  runtime: ModelRuntime;
  model: ModelDescription;
  policy: SchedulingPolicy;
  /** Decode calls timed before, on this machine with this model; may be empty. */
  measurements: readonly Measurement[];
  /** Most sequences, and most prompt tokens, that wait for a slot. */
  limits: { maxWaiting: number; maxWaitingTokens: number };
  observer: ServingObserver;
  /** A full line is no rejection yet: another place is tried. */
  canOverflow?: boolean;
  /** Monotonic milliseconds. */
  nowMs: () => number;
  /** Faults that no client can be told about. */
  onFault: (message: string, error: unknown) => void;
}

/** The serving core in this process: scheduler, engine and the text side of every live request. */
export class LocalServingCore implements ServingCore {
  readonly model: ModelDescription;
  readonly codec: TextCodec;
  private readonly options: LocalServingCoreOptions;
  private readonly engine: Engine;
  private readonly scheduler: Scheduler;
  private readonly loop: TickLoop;
  private readonly loopEnded: Promise<void>;
  private readonly tickTrace = new TickTrace();
  private readonly waits = new ClassWaits();
  private readonly requests = new Map<string, LiveRequest>();
  private readonly choices = new Map<number, LiveChoice>();
  private nextSequenceId = 1;
  private currentState: ServingState = 'ready';
  private onIdle: (() => void) | null = null;
  private closed: Promise<void> | null = null;

  constructor(options: LocalServingCoreOptions) {
    const { runtime, limits, observer, nowMs } = options;
    this.options = options;
    this.model = options.model;
    this.codec = runtime.codec;
    this.engine = runtime.engine;
    const { slotCount, contextTokens, batchTokens, endTokens } = runtime.engine;
    const { slotAbilities } = runtime.engine;
    const schedulerConfig = { slotCount, contextTokens, batchTokens, endTokens, ...limits, ...slotAbilities };
    this.scheduler = new Scheduler(schedulerConfig, options.policy);
    for (const { work, threads, decodeMs } of options.measurements) {
      this.scheduler.costs.learn(work, threads, decodeMs);
    }
    for (const threads of options.policy.threadChoices) {
      const share = leftoverShare(options.measurements, threads);
      if (share !== null) this.scheduler.costs.model(threads).fixLeftovers(share);
    }
    const deliver = (events: readonly SchedulerEvent[]) => this.deliver(events);
    this.loop = new TickLoop({
      scheduler: this.scheduler,
      engine: this.engine,
      deliver,
      deliverToken: (sequenceId, token) => this.deliverToken(sequenceId, token),
      observer,
      trace: this.tickTrace,
      nowMs,
    });
    this.loopEnded = this.loop.run().catch((error) => this.fail(error));
  }

  get state(): ServingState {
    return this.currentState;
  }

  assertAccepting(): void {
    this.assertReady();
    const { waiting, waitingTokens, cachedSlots, emptySlots } = this.scheduler.stats();
    const { maxWaiting, maxWaitingTokens } = this.options.limits;
    const freeSlots = cachedSlots + emptySlots;
    if (waiting >= maxWaiting + freeSlots)
      throw this.rejected({ reason: 'waiting', waiting, limit: maxWaiting });
    if (freeSlots === 0 && waitingTokens >= maxWaitingTokens) {
      throw this.rejected({ reason: 'waiting-tokens', waitingTokens, limit: maxWaitingTokens });
    }
  }

  expectedWaitMs(priorityClass: PriorityClass, tenant: string, alsoAhead = 0): number {
    const ahead = alsoAhead + this.scheduler.aheadOf(priorityClass, tenant);
    return this.waits.waitMs(priorityClass, ahead, this.scheduler.stats());
  }

  submit(request: GenerationRequest, onEvent: (event: GenerationEvent) => void): void {
    this.assertReady();
    if (this.requests.has(request.id))
      throw new ServiceError('invalid_value', `request id ${request.id} is in use`);
    const nowMs = this.options.nowMs();
    const live = new LiveRequest(request, nowMs, onEvent, (error) => {
      this.options.onFault(`listener of ${request.id} failed`, error);
      this.abort(request.id);
    });
    const choices = this.choicesOf(live, nowMs);
    const complete = choices.filter((choice) => choice.isComplete);
    const running = choices.filter((choice) => !choice.isComplete);
    const rejection = this.scheduler.submit(
      running.map(({ spec }) => spec),
      nowMs,
    );
    if (rejection) throw this.rejected(rejection);
    if (running.length > 0) this.requests.set(request.id, live);
    for (const choice of running) {
      live.choices.set(choice.spec.id, choice);
      this.choices.set(choice.spec.id, choice);
    }
    if (complete.length > 0) setImmediate(() => this.endComplete(complete));
    this.loop.wake();
  }

  abort(requestId: string): void {
    const live = this.requests.get(requestId);
    if (!live) return;
    live.silence();
    this.requests.delete(requestId);
    for (const sequenceId of live.choices.keys()) this.scheduler.cancel(sequenceId);
    this.loop.wake();
  }

  trace(ticks: number): Promise<TraceEvent[]> {
    return this.tickTrace.record(ticks, traceLimitMs);
  }

  stats(): SchedulerStats {
    return this.scheduler.stats();
  }

  close(deadlineMs: number): Promise<void> {
    this.closed ??= this.drain(deadlineMs);
    return this.closed;
  }

  private async drain(deadlineMs: number): Promise<void> {
    if (this.currentState === 'ready') this.currentState = 'draining';
    if (this.choices.size > 0 && this.currentState === 'draining') {
      const idle = new Promise<void>((resolve) => {
        this.onIdle = resolve;
      });
      let timer: NodeJS.Timeout | undefined;
      const deadline = new Promise<void>((resolve) => {
        timer = setTimeout(resolve, deadlineMs);
      });
      await Promise.race([idle, deadline]);
      clearTimeout(timer);
      for (const sequenceId of this.choices.keys()) this.scheduler.cancel(sequenceId);
      this.loop.wake();
      if (this.choices.size > 0) await idle;
    }
    this.loop.stop();
    await this.loopEnded;
    await this.engine.close();
  }

  private assertReady(): void {
    if (this.currentState === 'ready') return;
    if (this.currentState === 'failed')
      throw this.reject('engine_failed', 'the engine has failed; restart the server');
    throw this.reject('draining', 'the server is shutting down', 5);
  }

  /** @throws ServiceError of a prompt that does not fit */
  private choicesOf(live: LiveRequest, nowMs: number): LiveChoice[] {
    const { request } = live;
    const { prompts, choicesPerPrompt, maxTokens, resume } = request;
    return prompts.flatMap((prompt, promptIndex) => {
      const tokens = tokenizeWithin(this.codec, prompt, maxTokens, this.engine.contextTokens);
      return Array.from({ length: choicesPerPrompt }, (_, index) => {
        const choice = promptIndex * choicesPerPrompt + index;
        const point = resume?.[choice];
        if (point?.finished) return [];
        const spec = this.sequenceSpec(request, tokens, point?.tokens ?? [], nowMs);
        return new LiveChoice(live, spec, choice, this.codec, tokens, point);
      }).flat();
    });
  }

  /** Choices whose worker died after their last token and before saying so. */
  private endComplete(choices: readonly LiveChoice[]): void {
    for (const choice of choices) {
      const { id: sequenceId } = choice.spec;
      choice.finish(
        { sequenceId, reason: 'length', generatedTokens: 0, cachedTokens: 0, message: null },
        this.options.nowMs(),
      );
    }
  }

  private sequenceSpec(
    request: GenerationRequest,
    prompt: Uint32Array,
    generated: readonly number[],
    nowMs: number,
  ): SequenceSpec {
    const id = this.nextSequenceId;
    this.nextSequenceId += 1;
    const { priorityClass, tenant, cacheSalt, queueTimeoutMs } = request;
    const maxTokens = request.maxTokens ?? Math.max(1, this.engine.contextTokens - prompt.length);
    return {
      id,
      prompt: generated.length === 0 ? prompt : Uint32Array.from([...prompt, ...generated]),
      maxTokens: maxTokens - generated.length,
      ignoreEndToken: request.sampling.ignoreEndToken,
      priorityClass,
      tenant,
      // Tenants never share, whatever salts they choose.
      cacheSalt: `${tenant}\n${cacheSalt}`,
      deadlineMs: queueTimeoutMs === null ? null : nowMs + queueTimeoutMs,
    };
  }

  private deliverToken(sequenceId: number, token: number): void {
    const { observer, nowMs } = this.options;
    const choice = this.choices.get(sequenceId);
    if (!choice || isEndOf(choice.spec, token, this.engine.endTokens)) return;
    choice.takeToken(token, nowMs(), observer);
  }

  private deliver(events: readonly SchedulerEvent[]): void {
    for (const event of events) {
      const choice = this.choices.get(event.sequenceId);
      if (choice) this.deliverTo(choice, event);
    }
  }

  private deliverTo(choice: LiveChoice, event: SchedulerEvent): void {
    const { observer } = this.options;
    switch (event.type) {
      case 'started': {
        const { sampling } = choice.live.request;
        const seed = (sampling.seed + choice.choice) >>> 0;
        const resumedTokens = choice.resumedTokens.length;
        this.engine.openSampler(event.sequenceId, { ...sampling, seed }, choice.spec.prompt, resumedTokens);
        observer.requestStarted(event.waitMs);
        return;
      }
      case 'token':
        if (choice.stopped) this.scheduler.finish(event.sequenceId);
        return;
      case 'preempted':
      case 'resumed':
        // Sampler and text live on: to its client it was only slow.
        return;
      case 'finished':
        this.finish(choice, event);
    }
  }

  private finish(choice: LiveChoice, event: FinishedEvent): void {
    const { observer, nowMs } = this.options;
    this.engine.closeSampler(event.sequenceId);
    this.choices.delete(event.sequenceId);
    choice.live.choices.delete(event.sequenceId);
    if (event.message) this.options.onFault(`sequence ${event.sequenceId}: ${event.message}`, null);
    observer.requestFinished(choice.finish(event, nowMs()));
    // Who leaves the line makes it shorter, but says nothing of how soon slots come free.
    if (event.generatedTokens > 0)
      this.waits.finished(choice.spec.priorityClass, nowMs(), this.scheduler.stats());
    if (choice.live.choices.size === 0) this.requests.delete(choice.live.request.id);
    if (this.choices.size === 0) this.onIdle?.();
  }

  /** An invariant is broken: nothing can be trusted any more, but every client is told. */
  private fail(error: unknown): void {
    this.currentState = 'failed';
    this.options.onFault('the tick loop has failed', error);
    const events = [...this.choices.keys()].map(
      (sequenceId): SchedulerEvent => ({
        type: 'finished',
        sequenceId,
        reason: 'error',
        generatedTokens: 0,
        cachedTokens: 0,
        message: 'the tick loop has failed',
      }),
    );
    this.deliver(events);
  }

  private rejected(rejection: Rejection): ServiceError {
    switch (rejection.reason) {
      case 'window': {
        const { promptTokens, maxTokens, limit } = rejection;
        return this.reject(
          'context_length_exceeded',
          `This model's maximum context length is ${limit} tokens. However, you requested ` +
            `${promptTokens + maxTokens} tokens (${promptTokens} in the prompt, ${maxTokens} in the completion).`,
        );
      }
      case 'never':
        return this.reject(
          'invalid_value',
          `${rejection.choices} sequences with ${rejection.promptTokens} prompt tokens are more than this ` +
            'server takes at once, however idle it is; ask for fewer choices or prompts per request',
        );
      case 'waiting':
        return this.reject(
          'queue_full',
          `the line is full: ${rejection.waiting} requests wait, the limit is ${rejection.limit}`,
          this.waits.retryAfterSeconds(rejection.waiting),
        );
      case 'waiting-tokens':
        return this.reject(
          'queue_full',
          `the line is full: ${rejection.waitingTokens} prompt tokens wait, the limit is ${rejection.limit}`,
          this.waits.retryAfterSeconds(this.scheduler.stats().waiting),
        );
    }
  }

  private reject(
    code: 'context_length_exceeded' | 'invalid_value' | 'queue_full' | 'draining' | 'engine_failed',
    message: string,
    retryAfterSeconds?: number,
  ): ServiceError {
    const isFinal = code !== 'queue_full' || !this.options.canOverflow;
    if (isFinal) this.options.observer.requestRejected(code);
    return new ServiceError(code, message, retryAfterSeconds === undefined ? {} : { retryAfterSeconds });
  }
}
