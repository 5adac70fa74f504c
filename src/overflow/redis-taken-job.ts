import type { OverflowObserver } from '../metrics/overflow-observer.js';
import type { GenerationEvent, GenerationRequest } from '../serving/serving-core.js';
import type { BullQueue, QueuedJob } from './bull-queue.js';
import { resumeFrom } from './frame.js';
import { endingOf } from './job-cost.js';
import type { ParsedJob } from './job-format.js';
import type { EventListener, TakenJob } from './overflow-store.js';
import type { RedisScripts } from './redis-scripts.js';
import { RelayWriter } from './relay-writer.js';

export interface TakenJobOptions {
  job: QueuedJob;
  parsed: ParsedJob;
  queue: BullQueue;
  scripts: RedisScripts;
  nodeId: string;
  observer: OverflowObserver;
  /** The client, if it is here and wants no log: then tokens need not pass through Redis. null: they do. */
  ownListener: () => EventListener | null;
  /** It waits again after this attempt; should its client be here, somebody else may answer it. */
  onPutBack: (attempt: number) => void;
  /** It is not this process's concern any more. */
  onReleased: () => void;
  onTrouble: (error: unknown) => void;
}

/** A job from Redis while this process has it. */
export class RedisTakenJob implements TakenJob {
  readonly request: GenerationRequest;
  readonly arrivedAtMs: number;
  readonly deadlineAtMs: number | null;
  readonly ownerId: string;
  onStop: () => void = () => {};
  /** Settled when Redis knows what became of it. */
  settled: Promise<void> | null = null;
  private readonly options: TakenJobOptions;
  private writer: RelayWriter | null = null;
  private own: EventListener | null = null;
  private attempt = 0;
  private hasDelivered = false;
  private isReleased = false;

  constructor(options: TakenJobOptions) {
    const { request, arrivedAtMs, deadlineAtMs, ownerId } = options.parsed;
    this.options = options;
    this.request = request;
    this.arrivedAtMs = arrivedAtMs;
    this.deadlineAtMs = deadlineAtMs;
    this.ownerId = ownerId;
  }

  async begin(): Promise<GenerationRequest | null> {
    const { scripts, nodeId, observer, ownListener } = this.options;
    const { request, ownerId } = this;
    const opening = JSON.stringify({ s: nodeId });
    const begun = await scripts.begin(request.id, ownerId, opening, request.priorityClass).catch((error) => {
      // Its lock runs out, and then somebody takes it again.
      this.release();
      throw error;
    });
    if (begun === null) {
      this.drop();
      return null;
    }
    const { attempt, frames } = begun;
    this.attempt = attempt;
    if (attempt === 1) this.own = ownListener();
    if (this.own) return request;
    this.writer = this.openWriter(attempt);
    if (attempt > 1) observer.retried();
    else if (this.deadlineAtMs !== null && this.deadlineAtMs <= Date.now()) return this.expire();
    if (frames.length === 0) return request;
    const resume = resumeFrom(
      request,
      frames.map(({ text }) => text),
    );
    return { ...request, resume };
  }

  deliver(event: GenerationEvent): void {
    if (this.isReleased) return;
    this.hasDelivered = true;
    if (this.own) this.own(event);
    else this.writer?.push(event);
  }

  finish(): void {
    this.settle((queue, job) => queue.complete(job));
  }

  putBack(): void {
    if (this.own && this.hasDelivered) {
      // Nobody else could go on: what its client has had is in no log.
      this.finish();
      return;
    }
    this.own = null;
    this.options.onPutBack(this.attempt);
    this.settle((queue, job) => queue.putBack(job));
  }

  park(reason: string): void {
    this.settle((queue, job) => queue.park(job, reason));
  }

  /** Nobody wants the answer. */
  drop(): void {
    if (this.isReleased) return;
    this.writer?.close();
    this.options.observer.dropped();
    this.finish();
    this.onStop();
  }

  private expire(): null {
    this.options.observer.expired();
    this.deliver(endingOf('expired'));
    this.finish();
    return null;
  }

  private openWriter(attempt: number): RelayWriter {
    const { scripts, observer, onTrouble } = this.options;
    return new RelayWriter({
      scripts,
      requestId: this.request.id,
      ownerId: this.ownerId,
      attempt,
      onFenced: () => {
        observer.fenced();
        this.release();
        this.onStop();
      },
      onSent: (bytes) => observer.relaySent(bytes),
      onTrouble,
    });
  }

  /** Once its frames are in Redis, the job leaves this process's hands. */
  private settle(move: (queue: BullQueue, job: QueuedJob) => Promise<void>): void {
    if (this.isReleased || this.settled) return;
    const { queue, job, onTrouble } = this.options;
    this.settled = (async () => {
      await this.writer?.finished();
      if (!this.isReleased) await move(queue, job);
    })()
      // The lock runs out, somebody takes it again and finds its frames.
      .catch(onTrouble)
      .finally(() => this.release());
  }

  private release(): void {
    if (this.isReleased) return;
    this.isReleased = true;
    this.options.onReleased();
  }
}
