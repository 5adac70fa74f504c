import type { FastifyInstance } from 'fastify';
import { answerRequest } from '../generation/answer-request.js';
import { generationEndpoints } from '../generation/generation-endpoints.js';
import { readBody } from '../parameters/json-fields.js';
import type { RouteContext } from '../route-context.js';
import { chatCompletionsDocument } from '../schemas/generation-schemas.js';

const path = '/v1/chat/completions';

/** POST /v1/chat/completions */
export function addChatCompletions(server: FastifyInstance, context: RouteContext): void {
  server.post(path, { schema: chatCompletionsDocument }, async (request, reply) => {
    context.core.assertAccepting();
    const read = generationEndpoints[path](context, readBody(request.body));
    return answerRequest(context, request, reply, read);
  });
}
