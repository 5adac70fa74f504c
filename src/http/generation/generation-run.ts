import type { FinishReason } from '../../../scheduler/index.js';
import { ServiceError, toServiceError } from '../../errors.js';
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
  /**
   * @param text never empty
   * @param id the stream can be resumed after it
   */
  text(choice: number, text: string, id?: string): void;
  choiceFinished(choice: number, reason: AnsweredReason, id?: string): void;
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
  /** null: it was taken at once. Otherwise settled before the first event. @throws ServiceError why it was refused */
  readonly accepted: Promise<void> | null;
  private readonly core: Pick<ServingCore, 'submit' | 'abort'>;
  private readonly request: GenerationRequest;
  private readonly sink: GenerationSink;
  private readonly usages: ChoiceUsage[] = [];
  private timeout: NodeJS.Timeout | undefined;
  private unfinishedChoices: number;
  private ended = false;

  /**
   * @param timeoutMs longest time in all; null: no limit
   * @throws ServiceError what `core.submit` throws
   */
  constructor(
    core: Pick<ServingCore, 'submit' | 'abort'>,
    request: GenerationRequest,
    timeoutMs: number | null,
    sink: GenerationSink,
  ) {
    this.core = core;
    this.request = request;
    this.sink = sink;
    this.unfinishedChoices = request.prompts.length * request.choicesPerPrompt;
    const submitted = core.submit(request, (event) => this.receive(event));
    const startTimeout = () => {
      if (this.ended || timeoutMs === null) return;
      this.timeout = setTimeout(() => this.fail(timeoutError(timeoutMs)), timeoutMs);
    };
    if (!submitted) startTimeout();
    this.accepted = submitted ? submitted.then(startTimeout, (error) => this.refused(error)) : null;
  }

  /** The client is gone: frees its slots at once. Idempotent, and harmless after the end. */
  stop(): void {
    if (this.ended) return;
    this.end();
    this.core.abort(this.request.id);
  }

  private refused(error: unknown): never {
    this.end();
    throw error;
  }

  private receive(event: GenerationEvent): void {
    if (this.ended) return;
    if (event.type === 'text') {
      if (event.text.length > 0) this.sink.text(event.choice, event.text, event.id);
      return;
    }
    if (event.reason === 'stop' || event.reason === 'length') {
      this.finishChoice(event.choice, event.reason, event.usage, event.id);
      return;
    }
    this.fail(event.failure ? toServiceError(event.failure) : failureFor(event.reason));
  }

  private finishChoice(choice: number, reason: AnsweredReason, usage: ChoiceUsage, id?: string): void {
    this.usages[choice] = usage;
    this.unfinishedChoices -= 1;
    this.sink.choiceFinished(choice, reason, id);
    if (this.unfinishedChoices > 0) return;
    this.end();
    this.sink.completed(sumUsage(this.usages, this.request.choicesPerPrompt));
  }

  private fail(error: ServiceError): void {
    this.stop();
    this.sink.failed(error);
  }

  private end(): void {
    this.ended = true;
    clearTimeout(this.timeout);
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
