import type { FinishReason, PriorityClass, SchedulerStats } from '../../scheduler/index.js';
import type { SamplingParameters } from '../engine/sampling-parameters.js';
import type { ChatMessage, TextCodec } from '../engine/text-codec.js';
import type { ServiceFailure } from '../errors.js';
import type { TraceEvent } from './tick-trace.js';

/**
 * Token ids, at least one; or, where no tokenizer is at hand, validated text that whoever has the model renders and
 * tokenises. `path` is the field it came from.
 */
export type Prompt = Uint32Array | { messages: readonly ChatMessage[] } | { path: string; text: string };

/** What one choice had already generated when its worker died. */
export interface ResumePoint {
  tokens: readonly number[];
  /** Its last event was already sent; it does not run again. */
  finished: boolean;
}

/** What the client asked, validated. Choices are numbered prompt by prompt: `prompt * n + choice`. */
export interface GenerationRequest {
  /** Unique among live requests, e.g. `chatcmpl-...`. */
  id: string;
  prompts: readonly Prompt[];
  /** OpenAI's `n`. */
  choicesPerPrompt: number;
  /** null fills the slot's window. */
  maxTokens: number | null;
  sampling: SamplingParameters;
  /** Up to 4 strings; the text ends before the first one that appears. */
  stopStrings: readonly string[];
  priorityClass: PriorityClass;
  /** Whose fair share pays for it. */
  tenant: string;
  /** KV is reused only from requests with the same salt. */
  cacheSalt: string;
  /** Milliseconds after arrival at which a request that still waits for a slot is dropped; null: never. */
  queueTimeoutMs: number | null;
  /** Runs to its end whoever listens; its stream can be read again for a while. Needs Redis. */
  resumable?: boolean;
  /** How the answer is written, for whoever reads its stream again; nothing but the HTTP layer reads it. */
  presentation?: string;
  /** One per choice: goes on where another worker stopped. Its tokens are not sent again, but usage counts them. */
  resume?: readonly ResumePoint[];
}

export interface ChoiceUsage {
  promptTokens: number;
  /** Prompt tokens whose KV was reused. */
  cachedTokens: number;
  completionTokens: number;
}

/**
 * In order per choice: any number of `text`, then exactly one `finished`. Serialisable.
 * `id` is there when the stream can be resumed after this event.
 */
export type GenerationEvent =
  | { type: 'text'; choice: number; text: string; tokens: readonly number[]; id?: string }
  | {
      type: 'finished';
      choice: number;
      reason: FinishReason;
      usage: ChoiceUsage;
      /** Says more than the reason `error` where more is known. */
      failure?: ServiceFailure;
      id?: string;
    };

export interface ModelDescription {
  /** The id clients see in /v1/models. */
  id: string;
  /** Unix seconds at which this process loaded it. */
  createdSeconds: number;
  /** Where the weights came from: a path, or `simulated`. */
  source: string;
  sizeBytes: number;
  /** Tokens per slot; prompt plus completion must fit. */
  contextTokens: number;
  slotCount: number;
  /** What computes, in words; absent until that is known. */
  native?: string;
}

export type ServingState = 'loading' | 'ready' | 'draining' | 'failed';

/**
 * The boundary between everything that talks to clients and everything that decides and computes.
 * The implementation may live in this process or in a child process of its own.
 */
export interface ServingCore {
  readonly model: ModelDescription;
  /** null: there is no model here; prompts are handed on as text. */
  readonly codec: TextCodec | null;
  readonly state: ServingState;
  /**
   * Cheap gate to call before tokenising, so that a burst cannot slip past the limits.
   * @throws ServiceError `queue_full`, `loading`, `draining` or `engine_failed`
   */
  assertAccepting(): void;
  /**
   * Milliseconds a newcomer of this class and tenant would wait for a slot; 0 while that is not known, or where it may
   * be served elsewhere.
   * @param alsoAhead requests before it that are not in the line of this core
   */
  expectedWaitMs(priorityClass: PriorityClass, tenant: string, alsoAhead?: number): number;
  /**
   * Takes all choices of the request or none. Events arrive on later turns of the event loop, never inside this call.
   * @returns a promise where it takes a while to know, e.g. from Redis; no event arrives before it is settled
   * @throws (or rejects with) ServiceError `queue_full`, `context_length_exceeded`, `draining`, ...
   */
  submit(request: GenerationRequest, onEvent: (event: GenerationEvent) => void): void | Promise<void>;
  /** The request's client is gone: its slots are free within one tick and no further event is sent. Idempotent. */
  abort(requestId: string): void;
  stats(): SchedulerStats;
  /** What happened inside the next `ticks` ticks, or those of the next half minute. */
  trace(ticks: number): Promise<TraceEvent[]>;
  /** Stops admission, lets requests finish for up to `deadlineMs`, aborts the rest, frees the engine. */
  close(deadlineMs: number): Promise<void>;
}
