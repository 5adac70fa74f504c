import type { FastifyInstance } from 'fastify';
import { answerRequest } from '../generation/answer-request.js';
import { chatShape } from '../generation/chat-shape.js';
import { requireFit, tokenizeChat } from '../generation/prompt-tokens.js';
import { requireRoomForChoices } from '../parameters/choice-count.js';
import { parseGenerationOptions } from '../parameters/generation-options.js';
import { readBody } from '../parameters/json-fields.js';
import { parseMessages } from '../parameters/messages.js';
import { requireModel } from '../parameters/model-name.js';
import { refuseUnsupportedInChat } from '../parameters/unsupported.js';
import type { RouteContext } from '../route-context.js';
import { chatCompletionsDocument } from '../schemas/generation-schemas.js';

/** POST /v1/chat/completions */
export function addChatCompletions(server: FastifyInstance, context: RouteContext): void {
  const { core } = context;
  server.post('/v1/chat/completions', { schema: chatCompletionsDocument }, (request, reply) => {
    core.assertAccepting();
    const body = readBody(request.body);
    requireModel(body, core.model.id);
    refuseUnsupportedInChat(body);
    const options = parseGenerationOptions(body, core.codec.vocabularySize);
    requireRoomForChoices(context, 1, options.choicesPerPrompt);
    const messages = parseMessages(body);
    const { contextTokens } = core.model;
    const prompt = tokenizeChat(core.codec, messages, contextTokens);
    requireFit('messages', prompt.length, options.maxTokens, contextTokens);
    return answerRequest(context, request, reply, [prompt], options, chatShape);
  });
}
