/** OpenAI's `stop` and `length`, and the ways a sequence can end without an answer. */
export type FinishReason = 'stop' | 'length' | 'cancelled' | 'expired' | 'error';

/** What happened to a sequence. */
export type SchedulerEvent =
  /** A waiting sequence got a slot. */
  | { type: 'started'; sequenceId: number; slot: number; waitMs: number }
  /** A running sequence waits again, because one of a higher class, which starts next, needs its slot. */
  | { type: 'preempted'; sequenceId: number; forSequenceId: number }
  /** A preempted sequence got a slot and goes on where it was. */
  | { type: 'resumed'; sequenceId: number; slot: number }
  /** `index` counts the sequence's delivered tokens from 0. An end token is not delivered. */
  | { type: 'token'; sequenceId: number; token: number; index: number }
  /** The last event of a sequence; it holds no slot any more. */
  | FinishedEvent;

export interface FinishedEvent {
  type: 'finished';
  sequenceId: number;
  reason: FinishReason;
  /** Every token the model produced, an end token included. */
  generatedTokens: number;
  /** Prompt tokens that were not computed because their KV was already in the slot. */
  cachedTokens: number;
  /** What went wrong, for `error`. */
  message: string | null;
}
