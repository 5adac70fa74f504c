import type { FinishReason, PriorityClass, SchedulerStats } from '../../scheduler/index.js';
import type { SamplingParameters } from '../engine/sampling-parameters.js';
import type { TextCodec } from '../engine/text-codec.js';
import type { TraceEvent } from './tick-trace.js';

/** What the client asked, validated and tokenised. Choices are numbered prompt by prompt: `prompt * n + choice`. */
export interface GenerationRequest {
  /** Unique among live requests, e.g. `chatcmpl-...`. */
  id: string;
  /** Token ids, each at least one token long. */
  prompts: readonly Uint32Array[];
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
}

export interface ChoiceUsage {
  promptTokens: number;
  /** Prompt tokens whose KV was reused. */
  cachedTokens: number;
  completionTokens: number;
}

/** In order per choice: any number of `text`, then exactly one `finished`. Serialisable. */
export type GenerationEvent =
  | { type: 'text'; choice: number; text: string; tokens: readonly number[] }
  | { type: 'finished'; choice: number; reason: FinishReason; usage: ChoiceUsage };

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
}

export type ServingState = 'loading' | 'ready' | 'draining' | 'failed';

/**
 * The boundary between everything that talks to clients and everything that decides and computes.
 * The implementation may live in this process or in a child process of its own.
 */
export interface ServingCore {
  readonly model: ModelDescription;
  readonly codec: TextCodec;
  readonly state: ServingState;
  /**
   * Cheap gate to call before tokenising, so that a burst cannot slip past the limits.
   * @throws ServiceError `queue_full`, `loading`, `draining` or `engine_failed`
   */
  assertAccepting(): void;
  /**
   * Takes all choices of the request or none. Events arrive on later turns of the event loop, never inside this call.
   * @throws ServiceError `queue_full`, `context_length_exceeded`, `draining`, ...
   */
  submit(request: GenerationRequest, onEvent: (event: GenerationEvent) => void): void;
  /** The request's client is gone: its slots are free within one tick and no further event is sent. Idempotent. */
  abort(requestId: string): void;
  stats(): SchedulerStats;
  /** What happened inside the next `ticks` ticks, or those of the next half minute. */
  trace(ticks: number): Promise<TraceEvent[]>;
  /** Stops admission, lets requests finish for up to `deadlineMs`, aborts the rest, frees the engine. */
  close(deadlineMs: number): Promise<void>;
}
