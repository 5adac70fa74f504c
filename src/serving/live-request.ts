import type { FinishedEvent, SequenceSpec } from '../../scheduler/index.js';
import type { TextCodec } from '../engine/text-codec.js';
import type { FinishedRequest, ServingObserver } from '../metrics/serving-observer.js';
import type { GenerationEvent, GenerationRequest, ResumePoint } from './serving-core.js';
import { TextStream } from './text-stream.js';

/** One choice of a live request: its text, its times. */
export class LiveChoice {
  readonly live: LiveRequest;
  readonly spec: SequenceSpec;
  readonly choice: number;
  /** Tokens that an earlier worker generated and sent. */
  readonly resumedTokens: readonly number[];
  private readonly text: TextStream;
  private lastTokenMs = 0;

  /** @param prompt the client's own, without what was generated since */
  constructor(
    live: LiveRequest,
    spec: SequenceSpec,
    choice: number,
    codec: TextCodec,
    prompt: Uint32Array,
    resume?: ResumePoint,
  ) {
    this.live = live;
    this.spec = spec;
    this.choice = choice;
    this.resumedTokens = resume?.tokens ?? [];
    this.text = new TextStream(codec, live.request.stopStrings, prompt);
    for (const token of this.resumedTokens) this.text.push(token);
  }

  /** Everything but its end was already sent. */
  get isComplete(): boolean {
    return this.text.stopped || this.spec.maxTokens <= 0;
  }

  get promptTokens(): number {
    return this.spec.prompt.length - this.resumedTokens.length;
  }

  /** A stop string has appeared: the sequence should end. */
  get stopped(): boolean {
    return this.text.stopped;
  }

  takeToken(token: number, nowMs: number, observer: ServingObserver): void {
    if (this.text.stopped) return;
    if (this.lastTokenMs === 0) observer.firstToken(nowMs - this.live.arrivalMs);
    else observer.nextToken(nowMs - this.lastTokenMs);
    this.lastTokenMs = nowMs;
    this.live.emit({ type: 'text', choice: this.choice, text: this.text.push(token), tokens: [token] });
  }

  /** @returns what the metrics want to know of it */
  finish(
    { reason, generatedTokens, cachedTokens }: Omit<FinishedEvent, 'type'>,
    nowMs: number,
  ): FinishedRequest {
    const rest = this.text.end();
    if (rest !== '') this.live.emit({ type: 'text', choice: this.choice, text: rest, tokens: [] });
    const finalReason = this.text.stopped && reason === 'length' ? 'stop' : reason;
    const usage = {
      promptTokens: this.promptTokens,
      cachedTokens: Math.min(cachedTokens, this.promptTokens),
      completionTokens: this.resumedTokens.length + generatedTokens,
    };
    this.live.emit({ type: 'finished', choice: this.choice, reason: finalReason, usage });
    return { reason: finalReason, ...usage, durationMs: nowMs - this.live.arrivalMs };
  }
}

/** A request between `submit` and the end of its last choice. */
export class LiveRequest {
  readonly request: GenerationRequest;
  readonly arrivalMs: number;
  readonly choices = new Map<number, LiveChoice>();
  private listener: ((event: GenerationEvent) => void) | null;
  private readonly onListenerError: (error: unknown) => void;

  constructor(
    request: GenerationRequest,
    arrivalMs: number,
    listener: (event: GenerationEvent) => void,
    onListenerError: (error: unknown) => void,
  ) {
    this.request = request;
    this.arrivalMs = arrivalMs;
    this.listener = listener;
    this.onListenerError = onListenerError;
  }

  emit(event: GenerationEvent): void {
    try {
      this.listener?.(event);
    } catch (error) {
      this.silence();
      this.onListenerError(error);
    }
  }

  /** The client is gone: no further event. */
  silence(): void {
    this.listener = null;
  }
}
