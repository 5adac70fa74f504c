import { setImmediate } from 'node:timers/promises';
import type { Prompt } from '../../serving/serving-core.js';
import { requireRoomForChoices } from '../parameters/choice-count.js';
import { type GenerationOptions, parseGenerationOptions } from '../parameters/generation-options.js';
import type { JsonObject } from '../parameters/json-fields.js';
import { parseMessages } from '../parameters/messages.js';
import { requireModel } from '../parameters/model-name.js';
import { type LocatedPrompt, parsePrompts } from '../parameters/prompts.js';
import { refuseUnsupportedInChat, refuseUnsupportedInCompletions } from '../parameters/unsupported.js';
import type { GenerationContext } from '../route-context.js';
import type { AnswerShape } from './answer-shape.js';
import { chatShape } from './chat-shape.js';
import { completionShape } from './completion-shape.js';
import { prepareLocatedPrompt, preparePrompt, vocabularySizeOf } from './prepare-prompt.js';

/** A body whose every field passed its check. */
export interface ReadGeneration {
  options: GenerationOptions;
  shape: AnswerShape;
  /**
   * Its prompts, tokenised where there is a tokenizer.
   * @throws (or rejects with) ServiceError of a prompt that does not fit
   */
  tokenize(): readonly Prompt[] | Promise<readonly Prompt[]>;
}

/**
 * The paths that generate, and how each reads a body. Routes and lines of batch jobs share them.
 * @throws ServiceError that names field, value and limit
 */
export const generationEndpoints = {
  '/v1/chat/completions': readChat,
  '/v1/completions': readCompletion,
} as const satisfies Record<string, (context: GenerationContext, body: JsonObject) => ReadGeneration>;

export type GenerationEndpoint = keyof typeof generationEndpoints;

function readChat(context: GenerationContext, body: JsonObject): ReadGeneration {
  const { core } = context;
  requireModel(body, core.model.id);
  refuseUnsupportedInChat(body);
  const options = parseGenerationOptions(body, vocabularySizeOf(core));
  requireRoomForChoices(context, 1, options.choicesPerPrompt);
  const messages = parseMessages(body);
  const tokenize = () => [preparePrompt(core, { messages }, options.maxTokens)];
  return { options, shape: chatShape, tokenize };
}

function readCompletion(context: GenerationContext, body: JsonObject): ReadGeneration {
  const { core } = context;
  requireModel(body, core.model.id);
  refuseUnsupportedInCompletions(body);
  const options = parseGenerationOptions(body, vocabularySizeOf(core));
  const located = parsePrompts(body);
  requireRoomForChoices(context, located.length, options.choicesPerPrompt);
  const tokenize = () => preparePrompts(context, located, options);
  return { options, shape: completionShape, tokenize };
}

/** Lets running generations have the event loop between prompts. */
async function preparePrompts(
  { core }: GenerationContext,
  located: readonly LocatedPrompt[],
  { maxTokens }: GenerationOptions,
): Promise<Prompt[]> {
  const prompts: Prompt[] = [];
  for (const prompt of located) {
    if (prompts.length > 0) await setImmediate();
    prompts.push(prepareLocatedPrompt(core, prompt, maxTokens));
  }
  return prompts;
}
