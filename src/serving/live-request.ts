import type { FinishedEvent, SequenceSpec } from '../../scheduler/index.js';
import type { TextCodec } from '../engine/text-codec.js';
import type { FinishedRequest, ServingObserver } from '../metrics/serving-observer.js';
import type { GenerationEvent, GenerationRequest } from './serving-core.js';
import { TextStream } from './text-stream.js';

/** One choice of a live request: its text, its times. */
export class LiveChoice {
  readonly live: LiveRequest;
  readonly spec: SequenceSpec;
  readonly choice: number;
  private readonly text: TextStream;
  private lastTokenMs = 0;

  constructor(live: LiveRequest, spec: SequenceSpec, choice: number, codec: TextCodec) {
    this.live = live;
    this.spec = spec;
    this.choice = choice;
    this.text = new TextStream(codec, live.request.stopStrings, spec.prompt);
  }

  /** @returns true when a stop string appeared and the sequence should end */
  takeToken(token: number, nowMs: number, observer: ServingObserver): boolean {
    if (this.text.stopped) return false;
    if (this.lastTokenMs === 0) observer.firstToken(nowMs - this.live.arrivalMs);
    else observer.nextToken(nowMs - this.lastTokenMs);
    this.lastTokenMs = nowMs;
    this.live.emit({ type: 'text', choice: this.choice, text: this.text.push(token), tokens: [token] });
    return this.text.stopped;
  }

  /** @returns what the metrics want to know of it */
  finish({ reason, generatedTokens, cachedTokens }: FinishedEvent, nowMs: number): FinishedRequest {
    const rest = this.text.end();
    if (rest !== '') this.live.emit({ type: 'text', choice: this.choice, text: rest, tokens: [] });
    const finalReason = this.text.stopped && reason === 'length' ? 'stop' : reason;
    const promptTokens = this.spec.prompt.length;
    const completionTokens = generatedTokens;
    this.live.emit({
      type: 'finished',
      choice: this.choice,
      reason: finalReason,
      usage: { promptTokens, cachedTokens, completionTokens },
    });
    const durationMs = nowMs - this.live.arrivalMs;
    return { reason: finalReason, promptTokens, cachedTokens, completionTokens, durationMs };
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
