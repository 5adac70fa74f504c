import type { FinishReason } from '../../../scheduler/index.js';
import { ServiceError } from '../../errors.js';
import type {
  ChoiceUsage,
  GenerationEvent,
  GenerationRequest,
  ServingCore,
} from '../../serving/serving-core.js';
import { sumUsage, type Usage } from './usage.js';

/** The ways a choice can end well. */
export type AnsweredReason = Extract<FinishReason, 'stop' | 'length'>;

/** Where a run's answer goes. After `completed` or `failed` nothing more arrives. */
export interface GenerationSink {
  /** @param text never empty */
  text(choice: number, text: string): void;
  choiceFinished(choice: number, reason: AnsweredReason): void;
  /** Every choice has finished. */
  completed(usage: Usage): void;
  failed(error: ServiceError): void;
}

/** Seconds a client should wait after its request expired in line: as long as the line was too long. */
const retryAfterExpirySeconds = 5;

/**
 * One request on its way through the core, from submission to its last event. It ends exactly once: by an answer, by a
 * failure of any choice, by its timeout, or by `stop`; in the last three cases the core is told to abort.
 */
export class GenerationRun {
  readonly #core: ServingCore;
  readonly #request: GenerationRequest;
  readonly #sink: GenerationSink;
  readonly #usages: ChoiceUsage[] = [];
  readonly #timeout: NodeJS.Timeout;
  #unfinishedChoices: number;
  #ended = false;

  /** @throws ServiceError what `core.submit` throws */
  constructor(core: ServingCore, request: GenerationRequest, timeoutMs: number, sink: GenerationSink) {
    this.#core = core;
    this.#request = request;
    this.#sink = sink;
    this.#unfinishedChoices = request.prompts.length * request.choicesPerPrompt;
    core.submit(request, (event) => this.#receive(event));
    this.#timeout = setTimeout(() => this.#fail(timeoutError(timeoutMs)), timeoutMs);
  }

  /** The client is gone: frees its slots at once. Idempotent, and harmless after the end. */
  stop(): void {
    if (this.#ended) return;
    this.#end();
    this.#core.abort(this.#request.id);
  }

  #receive(event: GenerationEvent): void {
    if (this.#ended) return;
    if (event.type === 'text') {
      if (event.text.length > 0) this.#sink.text(event.choice, event.text);
      return;
    }
    if (event.reason === 'stop' || event.reason === 'length') {
      this.#finishChoice(event.choice, event.reason, event.usage);
      return;
    }
    this.#fail(failureFor(event.reason));
  }

  #finishChoice(choice: number, reason: AnsweredReason, usage: ChoiceUsage): void {
    this.#usages[choice] = usage;
    this.#unfinishedChoices -= 1;
    this.#sink.choiceFinished(choice, reason);
    if (this.#unfinishedChoices > 0) return;
    this.#end();
    this.#sink.completed(sumUsage(this.#usages, this.#request.choicesPerPrompt));
  }

  #fail(error: ServiceError): void {
    this.stop();
    this.#sink.failed(error);
  }

  #end(): void {
    this.#ended = true;
    clearTimeout(this.#timeout);
  }
}

function failureFor(reason: 'cancelled' | 'expired' | 'error'): ServiceError {
  if (reason === 'cancelled') return new ServiceError('draining', 'the server is shutting down');
  if (reason === 'expired') {
    return new ServiceError('queue_full', 'the request waited too long for a free slot; try again later', {
      retryAfterSeconds: retryAfterExpirySeconds,
    });
  }
  return new ServiceError('generation_failed', 'the model failed while it generated this answer');
}

function timeoutError(timeoutMs: number): ServiceError {
  return new ServiceError('request_timeout', `the request took longer than ${timeoutMs / 1000} seconds`);
}
