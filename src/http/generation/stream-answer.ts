import type { ServerResponse } from 'node:http';
import type { ServiceError } from '../../errors.js';
import { comesAfter } from '../../serving/event-id.js';
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
  core: Pick<ServingCore, 'submit' | 'abort'>;
  request: GenerationRequest;
  requestTimeoutMs: number;
  limits: StreamLimits;
  chunks: ChunkWriter;
  includeUsage: boolean;
  /** The last event the reader already has, from an earlier connection. */
  afterId?: string | null;
}

export const streamLimits: StreamLimits = {
  pingMs: 15_000,
  drainTimeoutMs: 60_000,
  maxHeldCharacters: 256 * 1024,
};

/**
 * Streams one answer. A reader that is behind holds back its own text only: deltas of a choice are merged until it
 * catches up, and the loop that produces them never waits.
 * @throws ServiceError what `core.submit` throws, before anything is written
 */
export async function streamAnswer(response: ServerResponse, options: StreamOptions): Promise<void> {
  const answer = new StreamedAnswer(options);
  response.once('close', () => answer.stop());
  if (response.destroyed) answer.stop();
  if (answer.accepted !== null) await answer.accepted;
  answer.open(response);
}

interface ChoiceState {
  begun: boolean;
  /** Text held back. */
  held: string;
  /** A finish held back. */
  heldReason: AnsweredReason | null;
  /** The latest id among what is held back. */
  heldId: string | undefined;
}

class StreamedAnswer implements GenerationSink {
  private readonly options: StreamOptions;
  private readonly run: GenerationRun;
  private stream!: SseStream;
  private readonly choices: ChoiceState[];
  private heldCharacters = 0;
  private usage: Usage | null = null;

  constructor(options: StreamOptions) {
    this.options = options;
    const { request } = options;
    this.choices = Array.from({ length: request.prompts.length * request.choicesPerPrompt }, () => ({
      begun: typeof options.afterId === 'string',
      held: '',
      heldReason: null,
      heldId: undefined,
    }));
    this.run = new GenerationRun(options.core, request, options.requestTimeoutMs, this);
  }

  get accepted(): Promise<void> | null {
    return this.run.accepted;
  }

  /** Once the request is taken, in the same turn: a refusal must still become a plain status, and events come later. */
  open(response: ServerResponse): void {
    this.stream = new SseStream(response, this.options.limits, {
      drained: () => this.sendHeld(),
      stalled: () => this.stop(),
    });
  }

  stop(): void {
    this.run.stop();
  }

  text(choice: number, text: string, id?: string): void {
    if (!this.stream.blocked) {
      this.sendText(choice, text, id);
      return;
    }
    this.choices[choice]!.held += text;
    this.choices[choice]!.heldId = id;
    this.heldCharacters += text.length;
    if (this.heldCharacters <= this.options.limits.maxHeldCharacters) return;
    this.stop();
    this.stream.destroy();
  }

  choiceFinished(choice: number, reason: AnsweredReason, id?: string): void {
    const { afterId = null } = this.options;
    if (afterId !== null && id !== undefined && !comesAfter(id, afterId)) return;
    if (!this.stream.blocked) {
      this.sendFinish(choice, reason, id);
      return;
    }
    this.choices[choice]!.heldReason = reason;
    this.choices[choice]!.heldId = id;
  }

  completed(usage: Usage): void {
    this.usage = usage;
    if (!this.stream.blocked) this.sendEnd();
  }

  failed(error: ServiceError): void {
    this.stream.fail(`data: ${JSON.stringify(error.toBody())}\n\n`);
  }

  private sendText(choice: number, text: string, id?: string): void {
    const state = this.choices[choice]!;
    this.stream.send(withId(this.options.chunks.text(choice, text, !state.begun), id));
    state.begun = true;
  }

  private sendFinish(choice: number, reason: AnsweredReason, id?: string): void {
    const state = this.choices[choice]!;
    this.stream.send(withId(this.options.chunks.finish(choice, reason, !state.begun), id));
  }

  private sendEnd(): void {
    if (this.usage === null) return;
    if (this.options.includeUsage) this.stream.send(this.options.chunks.usage(this.usage));
    this.stream.send('data: [DONE]\n\n');
    this.stream.end();
  }

  /** Only the last event of each choice carries an id, and only where no other choice holds an earlier one back. */
  private sendHeld(): void {
    this.heldCharacters = 0;
    const single = this.choices.length === 1;
    this.choices.forEach((state, choice) => {
      const { held, heldReason } = state;
      const id = single ? state.heldId : undefined;
      state.held = '';
      state.heldReason = null;
      state.heldId = undefined;
      if (held !== '') this.sendText(choice, held, heldReason === null ? id : undefined);
      if (heldReason !== null) this.sendFinish(choice, heldReason, id);
    });
    this.sendEnd();
  }
}

/** @param event a complete SSE event */
function withId(event: string, id: string | undefined): string {
  return id === undefined ? event : `id: ${id}\n${event}`;
}
