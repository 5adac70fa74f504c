import type { FastifyInstance } from 'fastify';
import { greedySampling } from '../../engine/sampling-parameters.js';
import { ServiceError } from '../../errors.js';
import type { GenerationRequest } from '../../serving/serving-core.js';
import { parsePresentation } from '../generation/presentation.js';
import { streamAnswer, streamLimits } from '../generation/stream-answer.js';
import { invalidValue } from '../parameters/json-fields.js';
import type { ReadableStoredStream, RouteContext } from '../route-context.js';
import { cancelStreamDocument, readStreamDocument } from '../schemas/service-schemas.js';

const eventIdPattern = /^\d{1,15}-\d{1,15}$/;

/**
 * GET /v1/streams/:id: a stream that came through Redis, from its start or from after `Last-Event-ID`, to its end.
 * DELETE ends its request. Only the API key that asked for it may.
 */
export function addStreams(server: FastifyInstance, context: RouteContext): void {
  server.get<{ Params: { id: string } }>(
    '/v1/streams/:id',
    { schema: readStreamDocument },
    async (request, reply) => {
      const afterId = request.headers['last-event-id'] ?? null;
      if (afterId !== null && (typeof afterId !== 'string' || !eventIdPattern.test(afterId)))
        throw invalidValue('Last-Event-ID', 'the id of an event, such as 1-17', afterId);
      const stream = await openStream(context, request.params.id, request.tenant, afterId);
      const { shape, identity, includeUsage } = parsePresentation(stream.presentation);
      await streamAnswer(reply.raw, {
        core: { submit: (_, onEvent) => stream.follow(onEvent), abort: () => stream.stop() },
        request: emptyRequest(identity.id, stream),
        requestTimeoutMs: context.config.requestTimeoutMs,
        limits: streamLimits,
        chunks: shape.chunks(identity, includeUsage),
        includeUsage,
        afterId,
      });
      return reply.hijack();
    },
  );

  server.delete<{ Params: { id: string } }>(
    '/v1/streams/:id',
    { schema: cancelStreamDocument },
    async ({ params: { id }, tenant }) => {
      await openStream(context, id, tenant, null);
      await context.overflow.cancelStream(id);
      return { id, object: 'stream', deleted: true };
    },
  );
}

async function openStream(
  { overflow }: RouteContext,
  id: string,
  tenant: string,
  afterId: string | null,
): Promise<ReadableStoredStream> {
  const stream = await overflow.openStream(id, tenant, afterId).catch((cause) => {
    throw new ServiceError('overflow_unavailable', 'Redis cannot be reached', {
      retryAfterSeconds: 2,
      cause,
    });
  });
  if (stream) return stream;
  throw new ServiceError(
    'not_found',
    `there is no stream ${JSON.stringify(id)}: its retention is over, or it did not come through Redis`,
  );
}

/** Only its choices are counted; what was asked is with whoever computes it. */
function emptyRequest(id: string, { choices, choicesPerPrompt }: ReadableStoredStream): GenerationRequest {
  return {
    id,
    prompts: Array.from({ length: choices / choicesPerPrompt }, () => new Uint32Array()),
    choicesPerPrompt,
    maxTokens: null,
    sampling: greedySampling,
    stopStrings: [],
    priorityClass: 'interactive',
    tenant: '',
    cacheSalt: '',
    queueTimeoutMs: null,
  };
}
