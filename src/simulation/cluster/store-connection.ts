import type { Timeline } from '../timeline.js';
import type { ClusterTimes } from './cluster-scenario.js';

/** What is wrong on the way to the store, the same for everybody. */
export interface Network {
  state: 'up' | 'refusing' | 'silent';
  /** Times the usual latency. */
  slowness: number;
}

/** A process: it may be stopped, and what should happen meanwhile happens when it goes on, or never. */
export interface Host {
  readonly id: string;
  /** @returns the action, to be run unless this life of the process has ended by then */
  alive(action: () => void): () => void;
}

/** The connection of one process: commands and answers arrive in order, or not at all. */
export class StoreConnection {
  private readonly timeline: Timeline;
  private readonly times: ClusterTimes;
  private readonly network: Network;
  private readonly host: Host;
  private lastSentMs = 0;
  private lastHeardMs = 0;

  constructor(timeline: Timeline, times: ClusterTimes, network: Network, host: Host) {
    this.timeline = timeline;
    this.times = times;
    this.network = network;
    this.host = host;
  }

  /**
   * A command that was sent is executed whatever becomes of the sender; an answer that got lost looks like a
   * failure.
   */
  send<Answer>(
    command: () => Answer,
    answered: (answer: Answer) => void,
    failed: () => void = () => {},
  ): void {
    const { timeline, times, network, host } = this;
    let isSettled = false;
    const settle = (action: () => void) =>
      host.alive(() => {
        if (isSettled) return;
        isSettled = true;
        action();
      });
    if (network.state === 'refusing') {
      timeline.after(times.latencyMs, settle(failed));
      return;
    }
    timeline.after(times.commandTimeoutMs, settle(failed));
    this.lastSentMs = Math.max(this.lastSentMs, timeline.nowMs + this.delayMs());
    timeline.after(this.lastSentMs - timeline.nowMs, () => {
      if (network.state !== 'up') return;
      const answer = command();
      this.hear(settle(() => answered(answer)));
    });
  }

  /** What the store tells this process, unless it cannot be reached now. */
  hear(action: () => void): void {
    const { timeline, network } = this;
    if (network.state !== 'up') return;
    this.lastHeardMs = Math.max(this.lastHeardMs, timeline.nowMs + this.delayMs());
    timeline.after(this.lastHeardMs - timeline.nowMs, () => {
      if (network.state === 'up') action();
    });
  }

  private delayMs(): number {
    return this.times.latencyMs * this.network.slowness;
  }
}
