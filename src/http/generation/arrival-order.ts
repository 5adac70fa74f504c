import type { PriorityClass } from '../../../scheduler/index.js';

/** The place of one request among those of its tenant and class that are on their way to the core. */
export interface Turn {
  /** Settled when all that arrived before have left. */
  readonly come: Promise<void>;
  /** It has been submitted, or never will be. Idempotent. */
  leave(): void;
}

/**
 * Requests of one tenant and class reach the core in the order in which they came, however long each takes to tokenise:
 * long ones let others have the event loop in between.
 */
export class ArrivalOrder {
  private readonly last = new Map<string, Promise<void>>();

  enter(tenant: string, priorityClass: PriorityClass): Turn {
    const line = `${priorityClass} ${tenant}`;
    const come = this.last.get(line) ?? Promise.resolve();
    let leave = () => {};
    const left = new Promise<void>((resolve) => {
      leave = resolve;
    });
    const last = come.then(() => left);
    this.last.set(line, last);
    void last.then(() => {
      if (this.last.get(line) === last) this.last.delete(line);
    });
    return { come, leave };
  }
}
