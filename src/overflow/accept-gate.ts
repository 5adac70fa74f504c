import { ServiceError, toServiceError } from '../errors.js';
import type { GenerationEvent } from '../serving/serving-core.js';
import type { EventListener } from './overflow-store.js';

/**
 * Holds the events of a handed-on request back until it is known to be taken, so that a refusal by whoever computes it
 * still becomes a plain HTTP status.
 */
export class AcceptGate {
  readonly accepted: Promise<void>;
  private settle!: { resolve: () => void; reject: (error: unknown) => void };
  private held: GenerationEvent[] | null = [];
  private isSettled = false;
  private listener: EventListener;

  constructor(listener: EventListener) {
    this.listener = listener;
    this.accepted = new Promise((resolve, reject) => {
      this.settle = { resolve, reject };
    });
  }

  /** @param holdMs how long to wait for a first event before the request counts as taken */
  queued(holdMs: number): void {
    if (holdMs === 0) this.open();
    else setTimeout(() => this.open(), holdMs).unref();
  }

  refuse(error: unknown): void {
    if (this.isSettled) return;
    this.isSettled = true;
    this.held = null;
    this.listener = () => {};
    this.settle.reject(error);
  }

  receive(event: GenerationEvent): void {
    if (!this.isSettled && event.type === 'finished' && event.failure && this.held?.length === 0) {
      this.refuse(toServiceError(event.failure));
    } else if (this.held === null) {
      if (this.isSettled) this.listener(event);
    } else {
      this.held.push(event);
      this.open();
    }
  }

  private open(): void {
    if (this.isSettled) return;
    this.isSettled = true;
    this.settle.resolve();
    // After everybody who waits for `accepted` has gone on.
    setImmediate(() => {
      const held = this.held ?? [];
      this.held = null;
      for (const event of held) this.listener(event);
    });
  }
}

export function overflowUnavailable(): ServiceError {
  return new ServiceError(
    'overflow_unavailable',
    'Redis cannot be reached, and there is no room without it',
    {
      retryAfterSeconds: 2,
    },
  );
}
