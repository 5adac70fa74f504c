import type { FinishReason } from '../../scheduler/index.js';
import type { ErrorCode } from '../errors.js';

/** One finished choice. */
export interface FinishedRequest {
  reason: FinishReason;
  promptTokens: number;
  /** Prompt tokens whose KV was reused. */
  cachedTokens: number;
  completionTokens: number;
  /** Arrival to last token. */
  durationMs: number;
}

/** One decode call and the work around it. */
export interface ObservedTick {
  rows: number;
  passes: number;
  tokens: number;
  /** Compute threads of the decode call. */
  threads: number;
  decodeMs: number;
  samplingMs: number;
  /** Tick time that is neither decoding nor sampling. */
  javascriptMs: number;
}

/** One operation on a slot between two decode calls. */
export interface ObservedSlotOperation {
  kind: 'copy' | 'save' | 'restore';
  ms: number;
  /** Written to a snapshot. */
  bytes: number;
  failed: boolean;
}

/** What the serving layer tells about its life; called synchronously from the tick loop, so it must be cheap. */
export interface ServingObserver {
  /** A sequence got a slot after `waitMs` in line. */
  requestStarted(waitMs: number): void;
  /** @param ttftMs arrival to first token */
  firstToken(ttftMs: number): void;
  /** @param gapMs time since the previous token of the same sequence */
  nextToken(gapMs: number): void;
  requestFinished(info: FinishedRequest): void;
  requestRejected(code: ErrorCode): void;
  tick(info: ObservedTick): void;
  /** A tick was held for requests that were expected at once. */
  held(ms: number): void;
  slotOperation(info: ObservedSlotOperation): void;
  /** The engine held something else in a slot than the scheduler's account says. */
  slotMismatch(): void;
}

/** For tests and tools that do not measure. */
export const silentObserver: ServingObserver = {
  requestStarted() {},
  firstToken() {},
  nextToken() {},
  requestFinished() {},
  requestRejected() {},
  tick() {},
  held() {},
  slotOperation() {},
  slotMismatch() {},
};
