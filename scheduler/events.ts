/** OpenAI's `stop` and `length`, and the ways a sequence can end without an answer. */
export type FinishReason = "stop" | "length" | "cancelled" | "expired" | "error";

/** What happened to a sequence. Times are the `nowMs` values the scheduler was given. */
export type SchedulerEvent =
  /** A waiting sequence got a slot. */
  | { type: "started"; sequenceId: number; slot: number; cachedTokens: number; waitMs: number }
  /** `index` counts the sequence's generated tokens from 0. */
  | { type: "token"; sequenceId: number; token: number; index: number }
  /** The last event of a sequence; the slot is already free. An end token is not counted in `generatedTokens`. */
  | { type: "finished"; sequenceId: number; reason: FinishReason; generatedTokens: number; message?: string };
