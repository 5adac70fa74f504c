import type { OverflowObserver } from '../metrics/overflow-observer.js';
import type { BullQueue } from './bull-queue.js';
import { choicesOf, endingOf } from './job-cost.js';
import type { EventListener, OverflowJob } from './overflow-store.js';
import type { RedisLink } from './redis-link.js';
import type { RedisScripts } from './redis-scripts.js';
import { RelayReader } from './relay-reader.js';

const auditMs = 5_000;
/** Cancels that could not be told to Redis are remembered up to this many. */
const mostPendingCancels = 10_000;

/** One request whose client is here and whose job is in Redis. */
export interface OpenRequest {
  job: OverflowJob;
  listener: EventListener;
  reader: RelayReader;
  state: 'queued' | 'elsewhere' | 'here';
  /** The client has had some of the answer: the deadline, which is for its beginning, is over. */
  hasText: boolean;
  /** Number of the last attempt that is known to be over without an answer. */
  endedAttempt: number;
  expiry: NodeJS.Timeout | null;
  /** Puts the job back into Redis should that have lost it; null: it is on its way for the first time. */
  restore: (() => Promise<unknown>) | null;
}

export interface OpenRequestsOptions {
  link: RedisLink;
  scripts: RedisScripts;
  queue: BullQueue;
  observer: OverflowObserver;
}

/** The clients' side of the overflow in Redis: who waits here for which answer. */
export class OpenRequests {
  private readonly options: OpenRequestsOptions;
  private readonly requests = new Map<string, OpenRequest>();
  private readonly queuedByTenant = new Map<string, number>();
  private readonly pendingCancels = new Set<string>();
  private readonly auditor: NodeJS.Timeout;
  private queuedCount = 0;
  /** Settled once Redis has back what it lost while it was away; what came later must not go there before. */
  restored = Promise.resolve();

  constructor(options: OpenRequestsOptions) {
    this.options = options;
    options.link.onUp(() => {
      this.restored = this.restoreLost();
      void this.restored.then(() => this.audit());
    });
    this.auditor = setInterval(() => void this.audit(), auditMs).unref();
  }

  get queued(): number {
    return this.queuedCount;
  }

  /** Requests that another process computes. */
  get elsewhere(): number {
    return [...this.requests.values()].filter(({ state }) => state === 'elsewhere').length;
  }

  queuedOf(tenant: string): number {
    return this.queuedByTenant.get(tenant) ?? 0;
  }

  has(requestId: string): boolean {
    return this.requests.has(requestId);
  }

  add(job: OverflowJob, listener: EventListener): OpenRequest {
    const { scripts, observer } = this.options;
    const { id: requestId } = job.request;
    const reader = new RelayReader({
      scripts,
      requestId,
      choices: choicesOf(job.request),
      listener: (event) => {
        if (event.type === 'text') this.hasText(opened);
        listener(event);
      },
      afterId: null,
      onBegun: () => {
        if (reader.attempt > opened.endedAttempt) this.begun(opened, 'elsewhere');
      },
      onDelay: (delayMs) => observer.relayDelay(delayMs),
      onEnd: () => this.forget(requestId, false),
    });
    const opened: OpenRequest = {
      ...{ job, listener, reader, state: 'queued' },
      ...{ hasText: false, endedAttempt: 0, expiry: null, restore: null },
    };
    this.requests.set(requestId, opened);
    this.waits(opened);
    return opened;
  }

  /** This process runs the job itself, from its start. @returns its client, or null if that has left */
  serveHere(requestId: string): EventListener | null {
    const opened = this.requests.get(requestId);
    if (!opened) return null;
    this.begun(opened, 'here');
    opened.reader.stop();
    let unfinished = choicesOf(opened.job.request);
    return (event) => {
      if (event.type === 'finished') unfinished -= 1;
      if (event.type === 'finished' && (unfinished === 0 || event.failure)) this.forget(requestId, false);
      opened.listener(event);
    };
  }

  /** The job goes back before anything of this attempt was delivered: whoever takes it next answers through Redis. */
  waitAgain(requestId: string, attempt: number): void {
    const opened = this.requests.get(requestId);
    if (!opened) return;
    opened.endedAttempt = Math.max(opened.endedAttempt, attempt);
    if (opened.state === 'queued' || opened.reader.attempt > attempt) return;
    opened.state = 'queued';
    opened.reader.goOn();
    this.waits(opened);
  }

  /**
   * Whoever had a job gave it back or fell silent. What this process does itself it knows first, and goes on with.
   * @param message `<attempt> <request>`
   */
  waitsAgain(message: string): void {
    const space = message.indexOf(' ');
    const requestId = message.slice(space + 1);
    if (this.requests.get(requestId)?.state !== 'here')
      this.waitAgain(requestId, Number(message.slice(0, space)));
  }

  /** @param message `<request> <frame id> <frame>` */
  receive(message: string): void {
    const firstSpace = message.indexOf(' ');
    const secondSpace = message.indexOf(' ', firstSpace + 1);
    const opened = this.requests.get(message.slice(0, firstSpace));
    opened?.reader.receive({
      id: message.slice(firstSpace + 1, secondSpace),
      text: message.slice(secondSpace + 1),
    });
  }

  /** The client has left. A resumable job goes on without it. */
  cancel(requestId: string): void {
    const opened = this.requests.get(requestId);
    if (!opened) return;
    const isElsewhere = opened.state !== 'here';
    this.forget(requestId, isElsewhere && !opened.job.request.resumable);
  }

  /** Somebody has told Redis to end it. */
  wasCancelled(requestId: string): void {
    const opened = this.requests.get(requestId);
    if (!opened) return;
    this.forget(requestId, false);
    const failure = { code: 'generation_failed', message: 'the request was cancelled' } as const;
    opened.listener({ ...endingOf('error'), failure });
  }

  /** @param revoke whether a job in Redis is to be removed, or told to stop */
  forget(requestId: string, revoke: boolean): void {
    const opened = this.requests.get(requestId);
    if (!opened) return;
    this.begun(opened, opened.state === 'queued' ? 'elsewhere' : opened.state);
    opened.reader.stop();
    this.requests.delete(requestId);
    if (revoke) this.revoke(requestId);
  }

  revoke(requestId: string): void {
    const { scripts, queue } = this.options;
    Promise.all([scripts.cancel(requestId), queue.remove(requestId)]).then(
      () => this.pendingCancels.delete(requestId),
      () => {
        if (this.pendingCancels.size < mostPendingCancels) this.pendingCancels.add(requestId);
      },
    );
  }

  close(): void {
    clearInterval(this.auditor);
    for (const [requestId, { listener }] of this.requests) {
      this.cancel(requestId);
      listener(endingOf('cancelled'));
    }
  }

  private hasText(opened: OpenRequest): void {
    opened.hasText = true;
    if (opened.expiry) clearTimeout(opened.expiry);
    opened.expiry = null;
  }

  private begun(opened: OpenRequest, state: 'elsewhere' | 'here'): void {
    if (opened.expiry) clearTimeout(opened.expiry);
    opened.expiry = null;
    if (opened.state === 'queued') this.countQueued(opened.job.request.tenant, -1);
    opened.state = state;
  }

  private waits(opened: OpenRequest): void {
    const { deadlineAtMs, request } = opened.job;
    this.countQueued(request.tenant, 1);
    if (deadlineAtMs === null || opened.hasText) return;
    opened.expiry = setTimeout(() => this.expire(opened), Math.max(0, deadlineAtMs - Date.now()));
  }

  private expire(opened: OpenRequest): void {
    this.forget(opened.job.request.id, true);
    this.options.observer.expired();
    opened.listener(endingOf('expired'));
  }

  private countQueued(tenant: string, change: 1 | -1): void {
    this.queuedCount += change;
    const count = this.queuedOf(tenant) + change;
    if (count === 0) this.queuedByTenant.delete(tenant);
    else this.queuedByTenant.set(tenant, count);
  }

  /** All at once and in their order, so that nobody waits for it long. */
  private async restoreLost(): Promise<void> {
    const { link, queue } = this.options;
    const waiting = [...this.requests.values()].filter(({ state, restore }) => state === 'queued' && restore);
    try {
      const areThere = await Promise.all(waiting.map(({ job }) => queue.has(job.request.id)));
      const lost = waiting.filter(({ job, state }, index) => {
        return !areThere[index] && state === 'queued' && this.requests.has(job.request.id);
      });
      await Promise.all(lost.map(({ restore }) => restore?.()));
    } catch (error) {
      link.noteFault(error);
    }
  }

  /** Cancels that Redis refused, frames that nobody told, and jobs that Redis has lost. */
  private async audit(): Promise<void> {
    const { link } = this.options;
    if (link.state === 'up') for (const requestId of this.pendingCancels) this.revoke(requestId);
    for (const opened of this.requests.values()) {
      if (link.state !== 'up') return;
      if (opened.state === 'here' || opened.restore === null) continue;
      try {
        await this.auditOne(opened);
      } catch (error) {
        link.noteFault(error);
        return;
      }
    }
  }

  private async auditOne(opened: OpenRequest): Promise<void> {
    const { queue } = this.options;
    const { id } = opened.job.request;
    const isThere = await queue.has(id);
    if (!(await opened.reader.catchUp()) || isThere || !this.requests.has(id)) return;
    if (opened.state === 'queued') await opened.restore?.();
    else if (opened.state === 'elsewhere')
      opened.reader.fail('the request was cancelled, or Redis has lost it');
  }
}
