import type { ServerResponse } from 'node:http';
import type { ServiceError } from '../../errors.js';
import type { GenerationRequest, ServingCore } from '../../serving/serving-core.js';
import type { ChunkWriter } from './answer-shape.js';
import { type AnsweredReason, GenerationRun, type GenerationSink } from './generation-run.js';
import { type SseLimits, SseStream } from './sse-stream.js';
import type { Usage } from './usage.js';

export interface StreamLimits extends SseLimits {
  /** UTF-16 units of text held back for a reader that is behind; beyond it the request is aborted. */
  maxHeldCharacters: number;
}

export interface StreamOptions {
  core: ServingCore;
  request: GenerationRequest;
  requestTimeoutMs: number;
  limits: StreamLimits;
  chunks: ChunkWriter;
  includeUsage: boolean;
}

/**
 * Streams one answer. A reader that is behind holds back its own text only: deltas of a choice are merged until it
 * catches up, and the loop that produces them never waits.
 * @throws ServiceError what `core.submit` throws, before anything is written
 */
export function streamAnswer(response: ServerResponse, options: StreamOptions): void {
  const answer = new StreamedAnswer(response, options);
  response.once('close', () => answer.stop());
  if (response.destroyed) answer.stop();
}

interface ChoiceState {
  begun: boolean;
  /** Text held back. */
  held: string;
  /** A finish held back. */
  heldReason: AnsweredReason | null;
}

class StreamedAnswer implements GenerationSink {
  readonly #options: StreamOptions;
  readonly #run: GenerationRun;
  readonly #stream: SseStream;
  readonly #choices: ChoiceState[];
  #heldCharacters = 0;
  #usage: Usage | null = null;

  constructor(response: ServerResponse, options: StreamOptions) {
    this.#options = options;
    const { request } = options;
    this.#choices = Array.from({ length: request.prompts.length * request.choicesPerPrompt }, () => ({
      begun: false,
      held: '',
      heldReason: null,
    }));
    // Submission may be refused, which must still become a plain status; its events come on later turns.
    this.#run = new GenerationRun(options.core, request, options.requestTimeoutMs, this);
    this.#stream = new SseStream(response, options.limits, {
      drained: () => this.#sendHeld(),
      stalled: () => this.stop(),
    });
  }

  stop(): void {
    this.#run.stop();
  }

  text(choice: number, text: string): void {
    if (!this.#stream.blocked) {
      this.#sendText(choice, text);
      return;
    }
    this.#choices[choice]!.held += text;
    this.#heldCharacters += text.length;
    if (this.#heldCharacters <= this.#options.limits.maxHeldCharacters) return;
    this.stop();
    this.#stream.destroy();
  }

  choiceFinished(choice: number, reason: AnsweredReason): void {
    if (this.#stream.blocked) this.#choices[choice]!.heldReason = reason;
    else this.#sendFinish(choice, reason);
  }

  completed(usage: Usage): void {
    this.#usage = usage;
    if (!this.#stream.blocked) this.#sendEnd();
  }

  failed(error: ServiceError): void {
    this.#stream.fail(`data: ${JSON.stringify(error.toBody())}\n\n`);
  }

  #sendText(choice: number, text: string): void {
    const state = this.#choices[choice]!;
    this.#stream.send(this.#options.chunks.text(choice, text, !state.begun));
    state.begun = true;
  }

  #sendFinish(choice: number, reason: AnsweredReason): void {
    const state = this.#choices[choice]!;
    this.#stream.send(this.#options.chunks.finish(choice, reason, !state.begun));
  }

  #sendEnd(): void {
    if (this.#usage === null) return;
    if (this.#options.includeUsage) this.#stream.send(this.#options.chunks.usage(this.#usage));
    this.#stream.send('data: [DONE]\n\n');
    this.#stream.end();
  }

  #sendHeld(): void {
    this.#heldCharacters = 0;
    this.#choices.forEach((state, choice) => {
      if (state.held !== '') this.#sendText(choice, state.held);
      state.held = '';
      if (state.heldReason !== null) this.#sendFinish(choice, state.heldReason);
      state.heldReason = null;
    });
    this.#sendEnd();
  }
}
