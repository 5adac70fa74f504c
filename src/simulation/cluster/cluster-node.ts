import type { OverflowPlace, OverflowPolicy } from '../../../scheduler/index.js';
import { endingOf } from '../../overflow/job-cost.js';
import type { GenerationEvent } from '../../serving/serving-core.js';
import { WaitEstimator } from '../../serving/wait-estimator.js';
import type { ClientRequest } from '../scenario.js';
import { ClusterDrain } from './cluster-drain.js';
import type { DrainHost, Environment } from './environment.js';
import { LocalRuns } from './local-runs.js';
import { failedBecause, SimulatedReader } from './relay.js';
import type { Channel, SimulatedFrame, StoredRequest } from './simulated-redis.js';
import { StoreConnection } from './store-connection.js';

interface OpenRequest {
  stored: StoredRequest;
  reader: SimulatedReader;
  state: 'queued' | 'elsewhere' | 'here';
  /** The client has been told that its request was taken, or more. */
  isSettled: boolean;
  /** The client has had some of the answer. */
  hasText: boolean;
  /** Number of the last attempt that is known to be over without an answer. */
  endedAttempt: number;
  cost: number;
  /** Where it was put; null: that is not known. */
  place: OverflowPlace | null;
}

/**
 * One life of one process: `OverflowCore`, `OpenRequests` and `NodeDirectory` of src/overflow in simulated time, around
 * the real policy and, in a worker, the real scheduler.
 */
export class ClusterNode implements DrainHost {
  readonly id: string;
  readonly connection: StoreConnection;
  readonly environment: Environment;
  readonly local: LocalRuns | null;
  readonly policy: OverflowPolicy;
  readonly drain: ClusterDrain | null;
  isUp = true;
  private readonly estimator = new WaitEstimator();
  private readonly open = new Map<string, OpenRequest>();
  private readonly pendingCancels = new Set<string>();
  private readonly missingSinceMs = new Map<string, number>();
  private isDead = false;
  private isPaused = false;
  private heardOf: ReadonlySet<string> | null = null;
  private frozen: (() => void)[] = [];

  constructor(id: string, isWorker: boolean, environment: Environment) {
    const { timeline, scenario, network, rules } = environment;
    const { times } = scenario;
    this.id = id;
    this.environment = environment;
    this.connection = new StoreConnection(timeline, times, network, this);
    this.policy = new rules.OverflowPolicy();
    this.local = isWorker ? new LocalRuns(this) : null;
    this.drain = isWorker ? new ClusterDrain(this) : null;
    this.every(times.beatMs, () => this.beat());
    this.every(times.auditMs, () => this.audit());
    this.beat();
  }

  alive(action: () => void): () => void {
    return () => {
      if (this.isDead) return;
      if (this.isPaused) this.frozen.push(action);
      else action();
    };
  }

  later(delayMs: number, action: () => void): void {
    this.environment.timeline.after(delayMs, this.alive(action));
  }

  every(periodMs: number, action: () => void): void {
    this.later(periodMs, () => {
      action();
      this.every(periodMs, action);
    });
  }

  get isReachable(): boolean {
    return !this.isDead && !this.isPaused;
  }

  kill(): void {
    this.isDead = true;
  }

  pause(): void {
    this.isPaused = true;
  }

  resume(): void {
    this.isPaused = false;
    const { frozen } = this;
    this.frozen = [];
    for (const action of frozen) this.alive(action)();
  }

  line() {
    const { cachedSlots, emptySlots, waiting } = this.local!.engine.scheduler.stats();
    return { freeSlots: cachedSlots + emptySlots, waiting, estimatedWaitMs: this.estimator.waitMs(waiting) };
  }

  slotFreed(): void {
    this.estimator.finished(this.environment.timeline.nowMs, this.local!.engine.scheduler.stats());
    this.policy.slotFreed();
    this.environment.lineAndStore.slotFreed(this);
  }

  submit(request: ClientRequest): void {
    const { ledger, order, timeline, lineAndStore } = this.environment;
    const { label, deadlineAfterMs } = request;
    const deadlineAtMs = deadlineAfterMs === null ? null : timeline.nowMs + deadlineAfterMs;
    const stored: StoredRequest = { request, ownerId: this.id, arrivedAtMs: timeline.nowMs, deadlineAtMs };
    if (this.local && this.admitsDirectly(request)) {
      const rejection = this.local.start(stored, null, deadlineAtMs, (event) => {
        ledger.deliver(label, event);
        if (event.type !== 'finished') return;
        this.slotFreed();
        this.drain?.wake();
      });
      if (rejection === null) {
        if (this.isUp) order.admittedDirectly(stored);
        return;
      }
      if (rejection.reason === 'window' || rejection.reason === 'never') {
        ledger.refuse(stored, rejection.reason);
        return;
      }
      this.policy.lineRefused();
    }
    lineAndStore.decided(this);
    this.addToStore(stored);
  }

  /** Its client has left, or has had a failure. */
  abort(label: string): void {
    this.local?.abort(label);
    const opened = this.open.get(label);
    if (opened) this.forget(label, opened.state !== 'here');
    this.drain?.drop(label);
    this.drain?.wake();
  }

  /** What the store tells everybody. */
  hear(channel: Channel, label: string, frame?: SimulatedFrame): void {
    if (channel === 'frame') this.open.get(label)?.reader.receive(frame!);
    else if (channel === 'again') this.waitsAgain(label, frame?.id ?? '0');
    else if (channel === 'cancel') this.drain?.drop(label);
    else this.drain?.wake();
  }

  /** This process runs the job itself, from its start. @returns its client, or null if that has left */
  serveHere(label: string): ((event: GenerationEvent) => void) | null {
    const opened = this.open.get(label);
    if (!opened) return null;
    opened.state = 'here';
    opened.reader.stop();
    let unfinished = opened.stored.request.choices;
    return (event) => {
      opened.isSettled = true;
      if (event.type === 'finished') unfinished -= 1;
      if (event.type === 'finished' && (unfinished === 0 || event.failure)) this.forget(label, false);
      this.environment.ledger.deliver(label, event);
    };
  }

  /** The job goes back before anything of this attempt was delivered. */
  waitAgain(label: string, attempt: number): void {
    const opened = this.open.get(label);
    if (!opened) return;
    opened.endedAttempt = Math.max(opened.endedAttempt, attempt);
    if (opened.state === 'queued' || opened.reader.attempt > attempt) return;
    opened.state = 'queued';
    opened.reader.goOn();
    this.expireInTime(opened);
  }

  noteFailure(): void {
    this.isUp = false;
  }

  /** Whoever had a job gave it back or fell silent, after the attempt of this frame. */
  private waitsAgain(label: string, frameId: string): void {
    const opened = this.open.get(label);
    if (!opened || opened.state === 'here') return;
    const { state } = opened;
    this.waitAgain(label, Number.parseInt(frameId, 10));
    if (opened.state !== state) this.environment.order.heardAgain(opened.stored);
  }

  isGone(nodeId: string): boolean {
    const { timeline, scenario } = this.environment;
    if (nodeId === this.id || this.heardOf === null || this.heardOf.has(nodeId)) {
      this.missingSinceMs.delete(nodeId);
      return false;
    }
    const sinceMs = this.missingSinceMs.get(nodeId) ?? timeline.nowMs;
    this.missingSinceMs.set(nodeId, sinceMs);
    return timeline.nowMs - sinceMs > scenario.times.goneMs / 2;
  }

  /** What is still here; empty when everything has ended. */
  leftovers(): string {
    const parts = [
      this.open.size > 0 ? `clients ${[...this.open.keys()]}` : '',
      this.local?.engine.scheduler.hasWork ? 'sequences' : '',
      this.drain?.leftovers() ?? '',
      this.pendingCancels.size > 0 ? `untold cancels ${[...this.pendingCancels]}` : '',
    ];
    return parts.filter(Boolean).join(', ');
  }

  private admitsDirectly(request: ClientRequest): boolean {
    if (!this.isUp) return true;
    const queued = [...this.open.values()].filter(({ state }) => state === 'queued');
    const { tenant } = request;
    const ofTenant = queued.filter(({ stored }) => stored.request.tenant === tenant);
    const newcomer = {
      choices: request.choices,
      targetWaitMs: this.environment.scenario.targetWaitMs[request.priorityClass],
      queuedOfTenant: ofTenant.length + (this.drain?.brings(tenant) ? 1 : 0),
    };
    const line = this.line();
    const isDirect = this.policy.admitsDirectly(newcomer, line, queued.length);
    this.environment.lineAndStore.decided(this, newcomer, line, queued.length);
    return isDirect;
  }

  private addToStore(stored: StoredRequest): void {
    const { ledger, order, redis, rules } = this.environment;
    const { request } = stored;
    const { label } = request;
    if (!this.isUp) {
      ledger.refuse(stored, 'overflow_unavailable');
      return;
    }
    const cost = rules.overflowCost({
      promptTokens: request.prompt.length * request.choices,
      promptCharacters: 0,
      choices: request.choices,
      maxTokens: request.maxTokens,
    });
    const opened = this.openRequest(stored, cost);
    order.sent(stored, cost);
    this.connection.send(
      () => redis.add(stored, cost, null),
      (place) => {
        opened.place = place;
        if (place !== null) {
          this.added(opened);
          return;
        }
        const isOpen = this.open.has(label);
        this.forget(label, false);
        if (isOpen) ledger.refuse(stored, 'queue_full');
      },
      () => this.addFailed(opened),
    );
  }

  private added(opened: OpenRequest): void {
    const { label } = opened.stored.request;
    opened.isSettled = true;
    if (!this.open.has(label)) this.revoke(label);
    else
      this.connection.send(
        () => this.environment.redis.wake(),
        () => {},
      );
  }

  private addFailed(opened: OpenRequest): void {
    const { label } = opened.stored.request;
    this.noteFailure();
    const isOpen = this.open.has(label);
    if (isOpen && opened.state !== 'queued') return;
    this.forget(label, true);
    if (isOpen && !opened.isSettled) this.environment.ledger.refuse(opened.stored, 'overflow_unavailable');
  }

  private openRequest(stored: StoredRequest, cost: number): OpenRequest {
    const { ledger, redis, scenario, rules } = this.environment;
    const { label, choices } = stored.request;
    const later = (delayMs: number, action: () => void) => this.later(delayMs, action);
    const { connection } = this;
    const parts = { requestId: label, redis, connection, times: scenario.times, rules, later };
    const reader = new SimulatedReader(parts, choices, {
      begun: () => {
        if (reader.attempt > opened.endedAttempt) opened.state = 'elsewhere';
      },
      event: (event) => {
        opened.isSettled = true;
        opened.hasText ||= event.type === 'text';
        ledger.deliver(label, event);
      },
      end: () => this.forget(label, false),
    });
    const opened: OpenRequest = {
      ...{ stored, cost, reader, state: 'queued' },
      ...{ isSettled: false, hasText: false, endedAttempt: 0, place: null },
    };
    this.open.set(label, opened);
    this.expireInTime(opened);
    return opened;
  }

  private expireInTime(opened: OpenRequest): void {
    const { ledger, timeline } = this.environment;
    const { request, deadlineAtMs } = opened.stored;
    if (deadlineAtMs === null) return;
    this.later(deadlineAtMs - timeline.nowMs, () => {
      if (this.open.get(request.label) !== opened || opened.state !== 'queued' || opened.hasText) return;
      this.forget(request.label, true);
      ledger.deliver(request.label, endingOf('expired'));
    });
  }

  private forget(label: string, revoke: boolean): void {
    const opened = this.open.get(label);
    if (!opened) return;
    opened.reader.stop();
    this.open.delete(label);
    if (revoke) this.revoke(label);
  }

  private revoke(label: string): void {
    this.connection.send(
      () => this.environment.redis.cancel(label),
      () => this.pendingCancels.delete(label),
      () => this.pendingCancels.add(label),
    );
  }

  private beat(): void {
    this.connection.send(
      () => this.environment.redis.beat(this.id),
      (heardOf) => {
        this.heardOf = heardOf;
        this.drain?.dropOrphans();
        if (this.isUp) return;
        this.isUp = true;
        this.drain?.wake();
        this.audit();
      },
      () => {
        this.noteFailure();
        this.missingSinceMs.clear();
      },
    );
  }

  /** Frames that nobody told, and jobs the store does not have. */
  private audit(): void {
    const { redis, ledger } = this.environment;
    if (this.isUp) for (const label of this.pendingCancels) this.revoke(label);
    for (const [label, opened] of this.open) {
      const { cost, stored, place } = opened;
      if (!this.isUp || opened.state === 'here' || !opened.isSettled) continue;
      this.connection.send(
        () => redis.has(label),
        (isThere) => {
          opened.reader.catchUp(() => {
            if (isThere || this.open.get(label) !== opened) return;
            if (opened.state === 'queued') {
              this.connection.send(
                () => redis.add(stored, cost, place),
                () => {},
              );
            } else if (opened.state === 'elsewhere') {
              this.forget(label, false);
              ledger.deliver(label, failedBecause('Redis has lost this request'));
            }
          });
        },
        () => this.noteFailure(),
      );
    }
  }
}
