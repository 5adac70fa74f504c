/** What the drivers hand to the client, and what comes back; all times in ms of `performance.now()`. */

export interface RequestSpec {
  prompt: string;
  outputTokens: number;
  /** Tokens the prompt should have by calibration. */
  promptTokens: number;
  /** Tokens of the prompt that someone has computed before: what a perfect cache would save. */
  reusableTokens?: number;
  /** Groups requests inside a scenario: "steady" and "long", "batch" and "interactive". */
  tag?: string;
  /** Hang up after that many chunks; 0 hangs up `abortDelayMs` after sending. */
  abortAfterChunks?: number;
  abortDelayMs?: number;
  /** Sent as OpenAI's `service_tier`; "flex" marks bulk work. */
  serviceTier?: 'flex' | 'priority';
}

/**
 * ok: the stream came to its proper end. rejected: the server said 429 or 503. failed: any other error.
 * aborted: this client hung up on purpose. unfinished: still running when the measurement ended.
 */
export type Outcome = 'ok' | 'rejected' | 'failed' | 'aborted' | 'unfinished';

export type FailureKind = 'connection' | 'status' | 'stream' | 'timeout';

export interface RequestRecord {
  tag: string;
  outcome: Outcome;
  failureKind?: FailureKind;
  /** One sentence for people. */
  error?: string;
  statusCode?: number;
  retryAfterSeconds?: number;
  /** When it should have been sent; in a closed loop the same as `sentAtMs`. */
  scheduledAtMs: number;
  sentAtMs: number;
  finishedAtMs: number;
  /** Arrival of every chunk that carried text. */
  chunkAtMs: number[];
  requestedPromptTokens: number;
  requestedOutputTokens: number;
  reusableTokens?: number;
  /** From the server's own usage; absent when it reports none. */
  promptTokens?: number;
  outputTokens?: number;
  cachedTokens?: number;
  finishReason?: string;
  text: string;
}

/** Generated tokens of a request: the server's count, else one per chunk. */
export function generatedTokens(record: RequestRecord): number {
  return record.outputTokens ?? record.chunkAtMs.length;
}

/** Arrival to first token; undefined when none came. */
export function timeToFirstTokenMs(record: RequestRecord): number | undefined {
  const first = record.chunkAtMs[0];
  return first === undefined ? undefined : first - record.scheduledAtMs;
}

/** Every gap between two chunks of one stream. */
export function interTokenGapsMs(record: RequestRecord): number[] {
  return record.chunkAtMs.slice(1).map((atMs, index) => atMs - (record.chunkAtMs[index] as number));
}

/** (E2E - TTFT) / (tokens - 1); undefined below two tokens. */
export function timePerOutputTokenMs(record: RequestRecord): number | undefined {
  const first = record.chunkAtMs[0];
  const tokens = generatedTokens(record);
  if (first === undefined || tokens < 2) return undefined;
  return (record.finishedAtMs - first) / (tokens - 1);
}
