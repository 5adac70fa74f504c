import type { FastifyInstance } from 'fastify';
import { answerRequest } from '../generation/answer-request.js';
import { completionShape } from '../generation/completion-shape.js';
import { requireFit, tokenizePrompt } from '../generation/prompt-tokens.js';
import { parseGenerationOptions } from '../parameters/generation-options.js';
import { readBody } from '../parameters/json-fields.js';
import { requireModel } from '../parameters/model-name.js';
import { parsePrompts } from '../parameters/prompts.js';
import { refuseUnsupportedInCompletions } from '../parameters/unsupported.js';
import type { RouteContext } from '../route-context.js';
import { completionsDocument } from '../schemas/generation-schemas.js';

/** POST /v1/completions */
export function addCompletions(server: FastifyInstance, context: RouteContext): void {
  const { core } = context;
  server.post('/v1/completions', { schema: completionsDocument }, (request, reply) => {
    core.assertAccepting();
    const body = readBody(request.body);
    requireModel(body, core.model.id);
    refuseUnsupportedInCompletions(body);
    const options = parseGenerationOptions(body, core.codec.vocabularySize);
    const { contextTokens } = core.model;
    const prompts = parsePrompts(body).map((located) => {
      const tokens = tokenizePrompt(core.codec, located, contextTokens);
      requireFit(located.path, tokens.length, options.maxTokens, contextTokens);
      return tokens;
    });
    return answerRequest(context, request, reply, prompts, options, completionShape);
  });
}
