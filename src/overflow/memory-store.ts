import { classRank, type OverflowPlace, OverflowQueue, type PriorityClass } from '../../scheduler/index.js';
import { ServiceError } from '../errors.js';
import type { GenerationRequest } from '../serving/serving-core.js';
import { costOf, endingOf } from './job-cost.js';
import type { EventListener, OverflowJob, OverflowStore, StoreDepth, TakenJob } from './overflow-store.js';

const sweepMs = 500;

interface Entry extends OverflowJob {
  listener: EventListener;
}

/** The overflow of a process that has no Redis: bounded, in the same order, gone with the process. */
export class MemoryStore implements OverflowStore {
  readonly redis = 'not configured';
  readonly elsewhere = 0;
  onWork: () => void = () => {};
  private readonly waiting = new OverflowQueue<Entry>();
  /** Jobs being run, until they finish. */
  private readonly taken = new Map<string, TakenJob>();
  /** Of these, whoever took them has yet to begin with: they still wait. */
  private readonly unbegun = new Set<TakenJob>();
  private readonly options: {
    maxOverflow: number;
    retryAfterSeconds: (queued: number) => number;
    /** A deadline passed while its request waited. */
    onExpired: () => void;
  };
  private readonly sweeper: NodeJS.Timeout;

  constructor(options: MemoryStore['options']) {
    this.options = options;
    this.sweeper = setInterval(() => this.dropExpired(), sweepMs).unref();
  }

  get queued(): number {
    return this.waiting.size;
  }

  queuedOf(tenant: string): number {
    let count = 0;
    for (const [, { item }] of this.waiting.entries()) if (item.request.tenant === tenant) count += 1;
    for (const { request } of this.unbegun) if (request.tenant === tenant) count += 1;
    return count;
  }

  queuedAhead(priorityClass: PriorityClass): number {
    const rank = classRank({ priorityClass });
    let count = 0;
    for (const [, { item }] of this.waiting.entries()) if (classRank(item.request) <= rank) count += 1;
    return count;
  }

  async add(job: OverflowJob, listener: EventListener): Promise<void> {
    const { maxOverflow, retryAfterSeconds } = this.options;
    const { size } = this.waiting;
    if (size >= maxOverflow) {
      throw new ServiceError('queue_full', `${size} requests wait, the limit is ${maxOverflow}`, {
        retryAfterSeconds: retryAfterSeconds(size),
      });
    }
    const { priorityClass, tenant, id } = job.request;
    const place = this.waiting.place(priorityClass, tenant, costOf(job.request), job.arrivedAtMs);
    this.waiting.add(id, place, { ...job, listener });
    this.onWork();
  }

  cancel(requestId: string): void {
    this.waiting.delete(requestId);
    const job = this.taken.get(requestId);
    if (!job) return;
    this.letGo(job);
    job.onStop();
  }

  async take(): Promise<TakenJob | null> {
    this.dropExpired();
    const first = this.waiting.take();
    return first && this.hand(first.item, first.place);
  }

  async depth(): Promise<StoreDepth> {
    const nowMs = Date.now();
    const depth: StoreDepth = {
      queued: { interactive: 0, standard: 0, batch: 0 },
      oldestMs: { interactive: 0, standard: 0, batch: 0 },
    };
    for (const [, { item }] of this.waiting.entries()) {
      const { request, arrivedAtMs } = item;
      depth.queued[request.priorityClass] += 1;
      const waitedMs = nowMs - arrivedAtMs;
      if (waitedMs > depth.oldestMs[request.priorityClass]) depth.oldestMs[request.priorityClass] = waitedMs;
    }
    return depth;
  }

  async close(): Promise<void> {
    clearInterval(this.sweeper);
    for (const [id, { item }] of [...this.waiting.entries()]) {
      this.waiting.delete(id);
      item.listener(endingOf('cancelled'));
    }
  }

  private hand(entry: Entry, place: OverflowPlace): TakenJob {
    const { request, arrivedAtMs, deadlineAtMs, listener } = entry;
    const job: TakenJob = {
      request,
      arrivedAtMs,
      deadlineAtMs,
      onStop() {},
      begin: async (): Promise<GenerationRequest> => {
        this.unbegun.delete(job);
        return request;
      },
      deliver: listener,
      finish: () => {
        this.letGo(job);
      },
      putBack: () => {
        if (this.letGo(job)) this.waiting.add(request.id, place, entry);
      },
    };
    this.taken.set(request.id, job);
    this.unbegun.add(job);
    return job;
  }

  /** @returns whether it was still being run */
  private letGo(job: TakenJob): boolean {
    this.unbegun.delete(job);
    return this.taken.delete(job.request.id);
  }

  private dropExpired(): void {
    const nowMs = Date.now();
    for (const [id, { item }] of this.waiting.entries()) {
      const { deadlineAtMs, listener } = item;
      if (deadlineAtMs === null || deadlineAtMs > nowMs) continue;
      this.waiting.delete(id);
      this.options.onExpired();
      listener(endingOf('expired'));
    }
  }
}
