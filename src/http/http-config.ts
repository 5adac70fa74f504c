import type { PriorityClass } from '../../scheduler/index.js';

/** What the HTTP layer needs to know; `ServeConfig` satisfies it. */
export interface HttpConfig {
  /** Accepted API keys; empty: no authentication. */
  apiKeys: readonly string[];
  maxBodyBytes: number;
  /** Milliseconds one whole request may take. */
  requestTimeoutMs: number;
  /** Milliseconds a request may wait for a slot before it is dropped. */
  queueTimeoutMs: number;
  /** Longest estimated wait for a slot with which a request is taken, by class; 0: any. */
  maxWaitMs: Readonly<Record<PriorityClass, number>>;
  /** Most sequences that wait for a slot; bounds how many choices one request may ask for. */
  maxWaiting: number;
}
