import type { SchedulerEvent, SequenceSpec } from '../../scheduler/index.js';
import { drawGapMs, drawRequest } from './draw-request.js';
import type { ClientRequest, Scenario } from './scenario.js';
import type { Timeline } from './timeline.js';

/** What clients can do to a server. */
export interface ServerSide {
  /** @returns whether it was admitted */
  submit(specs: readonly SequenceSpec[]): boolean;
  cancel(sequenceId: number): void;
  finish(sequenceId: number): void;
  clockMs(): number;
}

interface LiveRequest {
  request: ClientRequest;
  /** Choices not yet ended, and what each has said so far. */
  open: Map<number, number[]>;
}

const mostFollowUps = 2;

/**
 * Everybody who wants something: they arrive, read, stop, leave and come back. Each is a function of the seed
 * and its label.
 */
export class Clients {
  private readonly scenario: Scenario;
  private readonly timeline: Timeline;
  private readonly server: ServerSide;
  private readonly keep: (label: string) => boolean;
  private readonly choices = new Map<number, LiveRequest>();
  private nextSequenceId = 1;
  private isQuiet = false;
  /** Labels in order of arrival, refused ones included. */
  readonly arrived: string[] = [];

  /** @param keep which requests take part; shrinking leaves some out */
  constructor(scenario: Scenario, timeline: Timeline, server: ServerSide, keep: (label: string) => boolean) {
    this.scenario = scenario;
    this.timeline = timeline;
    this.server = server;
    this.keep = keep;
    this.scheduleArrival(1);
  }

  /** Nobody new arrives from now on; who is here behaves as ever. */
  quiet(): void {
    this.isQuiet = true;
  }

  /** The server sends an event; clients that read late react late. */
  deliver(event: SchedulerEvent): void {
    const live = this.choices.get(event.sequenceId);
    if (!live) return;
    if (event.type === 'started') this.seeStart(live);
    else if (event.type === 'token') this.seeToken(live, event.sequenceId, event.token, event.index);
    else if (event.type === 'finished') this.seeEnd(live, event.sequenceId);
  }

  /** A gateway in front went down: about half of the clients leave at one moment. */
  storm(draw: number): void {
    for (const [sequenceId, live] of [...this.choices]) {
      if ((Math.imul(sequenceId, 0x9e3779b1) ^ draw) & 1) this.leave(live);
    }
  }

  private scheduleArrival(index: number): void {
    this.timeline.after(drawGapMs(this.scenario, index), () => {
      if (this.isQuiet) return;
      if (this.keep(String(index)))
        this.arrive(drawRequest(this.scenario, String(index), new Uint32Array(0)));
      this.scheduleArrival(index + 1);
    });
  }

  private arrive(request: ClientRequest): void {
    this.arrived.push(request.label);
    const specs = Array.from({ length: request.choices }, () => this.specOf(request));
    if (!this.server.submit(specs)) return;
    const live: LiveRequest = { request, open: new Map(specs.map(({ id }) => [id, []])) };
    for (const { id } of specs) this.choices.set(id, live);
    const { leaving } = request;
    if (leaving.when === 'at-once') this.leave(live);
    else if (leaving.when === 'after-time') this.timeline.after(leaving.delayMs, () => this.leave(live));
  }

  private specOf(request: ClientRequest): SequenceSpec {
    const { prompt, maxTokens, ignoreEndToken, priorityClass, tenant, cacheSalt } = request;
    const { deadlineAfterMs } = request;
    const deadlineMs = deadlineAfterMs === null ? null : this.server.clockMs() + deadlineAfterMs;
    const id = this.nextSequenceId;
    this.nextSequenceId += 1;
    return { id, prompt, maxTokens, ignoreEndToken, priorityClass, tenant, cacheSalt, deadlineMs };
  }

  private seeStart(live: LiveRequest): void {
    if (live.request.leaving.when === 'started') this.react(live, () => this.leave(live));
  }

  private seeToken(live: LiveRequest, sequenceId: number, token: number, index: number): void {
    const { leaving, stopAfterTokens } = live.request;
    live.open.get(sequenceId)?.push(token);
    if (stopAfterTokens === index + 1) this.react(live, () => this.server.finish(sequenceId));
    if (leaving.when === 'after-tokens' && leaving.count === index + 1)
      this.react(live, () => this.leave(live));
  }

  private seeEnd(live: LiveRequest, sequenceId: number): void {
    const said = live.open.get(sequenceId) ?? [];
    live.open.delete(sequenceId);
    this.choices.delete(sequenceId);
    const { request } = live;
    const label = `${request.label}+`;
    const isDeep = label.length - label.indexOf('+') > mostFollowUps;
    if (live.open.size > 0 || !request.hasFollowUp || isDeep || this.isQuiet || !this.keep(label)) return;
    const conversation = Uint32Array.from([...request.prompt, ...said]);
    this.react(live, () => {
      if (!this.isQuiet) this.arrive(drawRequest(this.scenario, label, conversation));
    });
  }

  private leave(live: LiveRequest): void {
    for (const sequenceId of live.open.keys()) this.server.cancel(sequenceId);
  }

  private react(live: LiveRequest, action: () => void): void {
    if (live.request.readerLagMs === 0) action();
    else this.timeline.after(live.request.readerLagMs, action);
  }
}
