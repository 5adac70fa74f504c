import { promptTooLong, refuseHugeText, requireFit, tokenizeWithin } from '../../serving/prompt-tokens.js';
import type { Prompt, ServingCore } from '../../serving/serving-core.js';
import type { LocatedPrompt } from '../parameters/prompts.js';
import { parseTokenIds } from '../parameters/token-ids.js';

/** Where the tokenizer is elsewhere, ids are checked there. */
const anyVocabulary = 2 ** 32;

/** What ids may be, as far as this process knows. */
export function vocabularySizeOf({ codec }: ServingCore): number {
  return codec?.vocabularySize ?? anyVocabulary;
}

/**
 * A prompt as the core wants it: tokens that fit the window or, without a tokenizer, text that may fit.
 * @throws ServiceError `context_length_exceeded` or `invalid_value`
 */
export function preparePrompt(
  core: ServingCore,
  prompt: Exclude<Prompt, Uint32Array>,
  maxTokens: number | null,
): Prompt {
  const { codec, model } = core;
  if (codec !== null) return tokenizeWithin(codec, prompt, maxTokens, model.contextTokens);
  if ('messages' in prompt) {
    const characters = prompt.messages.reduce((sum, { content }) => sum + content.length, 0);
    refuseHugeText('messages', characters, model.contextTokens);
  } else refuseHugeText(prompt.path, prompt.text.length, model.contextTokens);
  return prompt;
}

/** The same for one prompt of a completion request, which may be token ids. */
export function prepareLocatedPrompt(
  core: ServingCore,
  { path, source }: LocatedPrompt,
  maxTokens: number | null,
): Prompt {
  if ('text' in source) return preparePrompt(core, { path, text: source.text }, maxTokens);
  const { contextTokens } = core.model;
  // Counted before a possibly huge array is walked; the exact complaint is the same.
  if (source.tokens.length >= contextTokens) throw promptTooLong(path, source.tokens.length, contextTokens);
  const tokens = parseTokenIds(path, source.tokens, vocabularySizeOf(core));
  requireFit(path, tokens.length, maxTokens, contextTokens);
  return tokens;
}
