import type { OverflowPlace, OverflowQueue } from '../../../scheduler/index.js';
import type { ClientRequest } from '../scenario.js';
import type { Timeline } from '../timeline.js';
import type { ClusterRules } from './cluster-rules.js';
import type { ClusterTimes } from './cluster-scenario.js';

/** After this many workers died over a job it is set aside. */
const mostStalls = 3;

export interface SimulatedFrame {
  id: string;
  text: string;
}

/** A job as every process sees it. */
export interface StoredRequest {
  request: ClientRequest;
  ownerId: string;
  deadlineAtMs: number | null;
}

export interface StoredJob extends StoredRequest {
  place: OverflowPlace;
  stalls: number;
}

interface ActiveJob {
  job: StoredJob;
  ownerOfLock: string;
  lockedUntilMs: number;
  isSuspect: boolean;
}

/** Hears what the store does, for the invariants. */
export interface StoreObserver {
  /** @param isInTime whether its place was still promised: a process may be stopped on the way */
  added(job: StoredJob, isInTime: boolean): void;
  taken(job: StoredJob, workerId: string): void;
  putBack(job: StoredJob): void;
  removed(job: StoredJob): void;
}

/**
 * What Redis, BullMQ and the scripts of `src/overflow/redis-scripts.ts` do, one atomic command at a time; the order of
 * jobs is the real one. Its faults are those of the way to it: see `StoreConnection`.
 */
export class SimulatedRedis {
  readonly queue: OverflowQueue<StoredJob>;
  readonly active = new Map<string, ActiveJob>();
  /** Of workers that fell silent; they go first, as BullMQ has it. */
  readonly stalled: StoredJob[] = [];
  readonly maxOverflow: number;
  private readonly timeline: Timeline;
  private readonly times: ClusterTimes;
  private readonly observer: StoreObserver;
  private readonly logs = new Map<string, SimulatedFrame[]>();
  private readonly cancelled = new Set<string>();
  /** Places promised to requests that are on their way, and until when. */
  private readonly promisedUntilMs = new Map<string, number>();
  private readonly lastBeatMs = new Map<string, number>();
  private readonly rules: ClusterRules;
  /** Told to every process that is reached. */
  publish: (channel: 'wake' | 'cancel' | 'frame', message: string, frame?: SimulatedFrame) => void = () => {};

  constructor(
    timeline: Timeline,
    times: ClusterTimes,
    maxOverflow: number,
    rules: ClusterRules,
    observer: StoreObserver,
  ) {
    this.rules = rules;
    this.queue = new rules.OverflowQueue<StoredJob>();
    this.timeline = timeline;
    this.times = times;
    this.maxOverflow = maxOverflow;
    this.observer = observer;
  }

  get isEmpty(): boolean {
    return this.queue.size === 0 && this.active.size === 0 && this.stalled.length === 0;
  }

  describe(): string {
    return `${this.queue.size} wait, ${[...this.active.keys()]} active, ${this.stalled.length} stalled`;
  }

  /** @returns null: full */
  reserve({ request }: StoredRequest, cost: number): OverflowPlace | null {
    for (const [id, untilMs] of this.promisedUntilMs) {
      if (untilMs > this.timeline.nowMs) continue;
      this.promisedUntilMs.delete(id);
      this.queue.delete(id);
    }
    if (this.queue.claimed >= this.maxOverflow) return null;
    this.promisedUntilMs.set(request.label, this.timeline.nowMs + 2 * this.times.commandTimeoutMs);
    return this.queue.place(request.label, request.priorityClass, request.tenant, cost);
  }

  add(stored: StoredRequest, place: OverflowPlace): void {
    const { label } = stored.request;
    if (this.has(label)) return;
    const isInTime = this.promisedUntilMs.delete(label);
    const job = { ...stored, place, stalls: 0 };
    this.queue.add(label, place, job);
    this.observer.added(job, isInTime);
  }

  has(id: string): boolean {
    if (this.active.has(id) || this.stalled.some(({ request }) => request.label === id)) return true;
    for (const [waiting] of this.queue.entries()) if (waiting === id) return true;
    return false;
  }

  wake(): void {
    this.publish('wake', '');
  }

  take(workerId: string): StoredJob | null {
    const job = this.stalled.shift() ?? this.queue.take()?.item;
    if (job === undefined) return null;
    const lockedUntilMs = this.timeline.nowMs + this.times.lockMs;
    this.active.set(job.request.label, { job, ownerOfLock: workerId, lockedUntilMs, isSuspect: false });
    this.observer.taken(job, workerId);
    return job;
  }

  /** @returns null: its client has left */
  begin(id: string, workerId: string): { attempt: number; frames: SimulatedFrame[] } | null {
    if (this.cancelled.has(id)) return null;
    const log = this.logs.get(id) ?? [];
    this.logs.set(id, log);
    const attempt = log.length === 0 ? 1 : Number(log.at(-1)!.id.split('-')[0]) + 1;
    const frames = [...log];
    const opening = { id: `${attempt}-0`, text: JSON.stringify({ s: workerId }) };
    log.push(opening);
    this.publish('frame', id, opening);
    return { attempt, frames };
  }

  /** @returns false: a later attempt has begun */
  writeFrame(id: string, frame: SimulatedFrame): boolean {
    const log = this.logs.get(id) ?? [];
    if (this.rules.comesAfter(frame.id, log.at(-1)?.id ?? null)) log.push(frame);
    else if (!log.some((each) => each.id === frame.id)) return false;
    this.publish('frame', id, frame);
    return true;
  }

  readFrames(id: string, afterId: string | null): SimulatedFrame[] {
    return (this.logs.get(id) ?? []).filter((frame) => this.rules.comesAfter(frame.id, afterId));
  }

  complete(id: string, workerId: string): void {
    if (this.holdsLock(id, workerId)) this.active.delete(id);
  }

  putBack(id: string, workerId: string): void {
    if (!this.holdsLock(id, workerId)) return;
    const { job } = this.active.get(id)!;
    this.active.delete(id);
    this.queue.add(id, job.place, job);
    this.observer.putBack(job);
  }

  renewLocks(ids: readonly string[], workerId: string): void {
    for (const id of ids) {
      if (this.holdsLock(id, workerId)) {
        this.active.get(id)!.lockedUntilMs = this.timeline.nowMs + this.times.lockMs;
      }
    }
  }

  /** Each job without a lock in two checks in a row waits again. */
  checkStalled(): void {
    for (const [id, entry] of [...this.active]) {
      if (entry.lockedUntilMs > this.timeline.nowMs) entry.isSuspect = false;
      else if (!entry.isSuspect) entry.isSuspect = true;
      else {
        this.active.delete(id);
        entry.job.stalls += 1;
        this.stalled.push(entry.job);
      }
    }
    if (this.stalled.length > 0) this.wake();
  }

  cancel(id: string): void {
    this.cancelled.add(id);
    for (const [waiting, { item }] of [...this.queue.entries()]) {
      if (waiting !== id) continue;
      this.queue.delete(id);
      this.observer.removed(item);
    }
    const index = this.stalled.findIndex(({ request }) => request.label === id);
    if (index >= 0) this.stalled.splice(index, 1);
    this.publish('cancel', id);
  }

  /** @returns who has been heard of lately */
  beat(nodeId: string): Set<string> {
    const { nowMs } = this.timeline;
    this.lastBeatMs.set(nodeId, nowMs);
    return new Set(
      [...this.lastBeatMs].filter(([, atMs]) => nowMs - atMs < this.times.goneMs).map(([id]) => id),
    );
  }

  static isHopeless({ stalls }: StoredJob): boolean {
    return stalls > mostStalls;
  }

  private holdsLock(id: string, workerId: string): boolean {
    const entry = this.active.get(id);
    return entry !== undefined && entry.ownerOfLock === workerId && entry.lockedUntilMs > this.timeline.nowMs;
  }
}
