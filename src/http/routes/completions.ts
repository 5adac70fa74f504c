import { setImmediate } from 'node:timers/promises';
import type { FastifyInstance } from 'fastify';
import type { ServingCore } from '../../serving/serving-core.js';
import { answerRequest } from '../generation/answer-request.js';
import { completionShape } from '../generation/completion-shape.js';
import { requireFit, tokenizePrompt } from '../generation/prompt-tokens.js';
import { requireRoomForChoices } from '../parameters/choice-count.js';
import { parseGenerationOptions } from '../parameters/generation-options.js';
import { readBody } from '../parameters/json-fields.js';
import { requireModel } from '../parameters/model-name.js';
import { type LocatedPrompt, parsePrompts } from '../parameters/prompts.js';
import { refuseUnsupportedInCompletions } from '../parameters/unsupported.js';
import type { RouteContext } from '../route-context.js';
import { completionsDocument } from '../schemas/generation-schemas.js';

/** POST /v1/completions */
export function addCompletions(server: FastifyInstance, context: RouteContext): void {
  const { core } = context;
  server.post('/v1/completions', { schema: completionsDocument }, async (request, reply) => {
    core.assertAccepting();
    const body = readBody(request.body);
    requireModel(body, core.model.id);
    refuseUnsupportedInCompletions(body);
    const options = parseGenerationOptions(body, core.codec.vocabularySize);
    const located = parsePrompts(body);
    requireRoomForChoices(context, located.length, options.choicesPerPrompt);
    const prompts = await tokenizePrompts(core, located, options.maxTokens);
    return answerRequest(context, request, reply, prompts, options, completionShape);
  });
}

/** Lets running generations have the event loop between prompts. */
async function tokenizePrompts(
  { codec, model }: ServingCore,
  located: readonly LocatedPrompt[],
  maxTokens: number | null,
): Promise<Uint32Array[]> {
  const prompts: Uint32Array[] = [];
  for (const prompt of located) {
    if (prompts.length > 0) await setImmediate();
    const tokens = tokenizePrompt(codec, prompt, model.contextTokens);
    requireFit(prompt.path, tokens.length, maxTokens, model.contextTokens);
    prompts.push(tokens);
  }
  return prompts;
}
