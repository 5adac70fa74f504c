import type { OverflowPlace, OverflowQueue } from '../../../scheduler/index.js';
import type { ClientRequest } from '../scenario.js';
import type { Timeline } from '../timeline.js';
import type { ClusterRules } from './cluster-rules.js';
import type { ClusterTimes } from './cluster-scenario.js';

/** After this many workers died over a job it is set aside. */
export const mostStalls = 3;

export interface SimulatedFrame {
  id: string;
  text: string;
}

/** A job as every process sees it. */
export interface StoredRequest {
  request: ClientRequest;
  ownerId: string;
  arrivedAtMs: number;
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

/** With `again` comes the opening or last frame of the attempt that ended; none: it had not begun. */
export type Channel = 'wake' | 'cancel' | 'frame' | 'again';

/** Hears what the store does, for the invariants. */
export interface StoreObserver {
  /** @param isNew whether it was not in before */
  added(job: StoredJob, isNew: boolean): void;
  taken(job: StoredJob, workerId: string): void;
  putBack(job: StoredJob): void;
  removed(job: StoredJob): void;
}

/**
 * What Redis, BullMQ and the scripts of `src/overflow` do, one atomic command at a time; the order of jobs is the real
 * one. Its faults are those of the way to it: see `StoreConnection`.
 */
export class SimulatedRedis {
  readonly queue: OverflowQueue<StoredJob>;
  readonly active = new Map<string, ActiveJob>();
  readonly maxOverflow: number;
  private readonly timeline: Timeline;
  private readonly times: ClusterTimes;
  private readonly observer: StoreObserver;
  private readonly logs = new Map<string, SimulatedFrame[]>();
  private readonly cancelled = new Set<string>();
  private readonly lastBeatMs = new Map<string, number>();
  private readonly rules: ClusterRules;
  /** Told to every process that is reached. */
  publish: (channel: Channel, message: string, frame?: SimulatedFrame) => void = () => {};

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
    return this.queue.size === 0 && this.active.size === 0;
  }

  describe(): string {
    return `${this.queue.size} wait, ${[...this.active.keys()]} active`;
  }

  /** One command. @param before the place of a request that the store had and lost. @returns its place; null: full */
  add(stored: StoredRequest, cost: number, before: OverflowPlace | null): OverflowPlace | null {
    const { label, priorityClass, tenant } = stored.request;
    const there = this.active.get(label)?.job ?? this.waiting(label);
    if (there) return there.place;
    if (before === null && this.queue.size >= this.maxOverflow) return null;
    const place = before ?? this.queue.place(priorityClass, tenant, cost, stored.arrivedAtMs);
    const job = { ...stored, place, stalls: 0 };
    this.queue.add(label, place, job);
    this.observer.added(job, before === null);
    return place;
  }

  has(id: string): boolean {
    return this.active.has(id) || this.waiting(id) !== undefined;
  }

  wake(): void {
    this.publish('wake', '');
  }

  take(workerId: string): StoredJob | null {
    const job = this.queue.take()?.item;
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
    this.waitAgain(id);
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
        entry.job.stalls += 1;
        this.waitAgain(id);
        this.wake();
      }
    }
  }

  cancel(id: string): void {
    this.cancelled.add(id);
    for (const [waiting, { item }] of [...this.queue.entries()]) {
      if (waiting !== id) continue;
      this.queue.delete(id);
      this.observer.removed(item);
    }
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

  private waitAgain(id: string): void {
    const { job } = this.active.get(id)!;
    this.active.delete(id);
    this.queue.add(id, job.place, job);
    this.observer.putBack(job);
    this.publish('again', id, this.logs.get(id)?.at(-1));
  }

  private waiting(id: string): StoredJob | undefined {
    for (const [waiting, { item }] of this.queue.entries()) if (waiting === id) return item;
    return undefined;
  }

  private holdsLock(id: string, workerId: string): boolean {
    const entry = this.active.get(id);
    return entry !== undefined && entry.ownerOfLock === workerId && entry.lockedUntilMs > this.timeline.nowMs;
  }
}
