import { randomUUID } from 'node:crypto';
import { ServiceError } from '../errors.js';
import { answerWhole } from '../http/generation/answer-request.js';
import { generationEndpoints } from '../http/generation/generation-endpoints.js';
import { unsupported } from '../http/parameters/unsupported.js';
import type { GenerationContext } from '../http/route-context.js';
import type { BatchLine } from './batch-line.js';
import { type LineAnswer, type LineAnswerer, LineDelayed } from './line-answerer.js';

/** Statuses of refusals that say nothing about the line. */
const passing: ReadonlySet<number> = new Set([429, 503]);
const mostAttempts = 3;
const shortestDelayMs = 250;

/** Answers lines as POST to their endpoint would, in the lowest class, and however long that takes. */
export class CoreAnswerer implements LineAnswerer {
  private readonly context: GenerationContext;

  constructor(context: GenerationContext) {
    this.context = context;
  }

  async answer(line: BatchLine, tenant: string, stop: AbortSignal): Promise<LineAnswer | null> {
    const requestId = `req-${randomUUID()}`;
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await this.attempt(line, tenant, stop, requestId);
      } catch (error) {
        const known =
          error instanceof ServiceError ? error : new ServiceError('internal_error', 'an unexpected error');
        // No delay helps: the job is left as it is.
        if (known.code === 'engine_failed') throw known;
        if (passing.has(known.status)) throw new LineDelayed(known.message, delayMs(known));
        if (known.status >= 500 && attempt < mostAttempts) continue;
        return { status: known.status, requestId, body: known.toBody(), tokens: [0, 0, 0] };
      }
    }
  }

  private async attempt(
    { endpoint, body }: BatchLine,
    tenant: string,
    stop: AbortSignal,
    requestId: string,
  ): Promise<LineAnswer | null> {
    const { core } = this.context;
    core.assertAccepting();
    const { options, shape, tokenize } = generationEndpoints[endpoint](this.context, body);
    if (options.stream) throw unsupported('stream', 'stream must be false in a batch, got true');
    const terms = {
      tenant,
      priorityClass: 'batch',
      queueTimeoutMs: null,
      requestTimeoutMs: null,
    } as const;
    const prepared = { options, shape, prompts: await tokenize() };
    const answer = await answerWhole(core, prepared, terms, stop);
    if (answer === null) return null;
    const { prompt_tokens, completion_tokens, prompt_tokens_details } = answer.usage;
    const tokens = [prompt_tokens, prompt_tokens_details.cached_tokens, completion_tokens] as const;
    return { status: 200, requestId, body: answer.body, tokens };
  }
}

function delayMs({ retryAfterSeconds }: ServiceError): number {
  return Math.max(shortestDelayMs, (retryAfterSeconds ?? 1) * 1000);
}
