import type { ErrorCode } from '../errors.js';

/** What the overflow tells about its life. */
export interface OverflowObserver {
  /** A job got from the store into the line of this process after `waitMs`. */
  drained(waitMs: number): void;
  /** A request found no place in the store. */
  refused(code: ErrorCode): void;
  /** A job's deadline passed while it waited. */
  expired(): void;
  /** A job is begun again after its worker fell silent. */
  retried(): void;
  /** Redis refused a write of this process, because another has taken the job over. */
  fenced(): void;
  /** A job could not be understood and was set aside. */
  parked(): void;
  /** A job nobody waits for any more was dropped. */
  dropped(): void;
  /** Bytes of one frame sent through Redis. */
  relaySent(bytes: number): void;
  /** Milliseconds from a worker's token to the process that holds the client. */
  relayDelay(delayMs: number): void;
}

export const silentOverflowObserver: OverflowObserver = {
  drained() {},
  refused() {},
  expired() {},
  retried() {},
  fenced() {},
  parked() {},
  dropped() {},
  relaySent() {},
  relayDelay() {},
};
