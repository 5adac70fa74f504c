import type { ChatMessage, TextCodec } from '../../engine/text-codec.js';
import { ServiceError } from '../../errors.js';
import { requestLimits } from '../parameters/limits.js';
import type { LocatedPrompt } from '../parameters/prompts.js';
import { parseTokenIds } from '../parameters/token-ids.js';

/** The tokens of a conversation, rendered by the model's own template. */
export function tokenizeChat(
  codec: TextCodec,
  messages: readonly ChatMessage[],
  contextTokens: number,
): Uint32Array {
  const characters = messages.reduce((sum, message) => sum + message.content.length, 0);
  refuseHugeText('messages', characters, contextTokens);
  return encodePrompt(codec, codec.renderChat(messages), true);
}

/** The tokens of one prompt of a completion request. */
export function tokenizePrompt(codec: TextCodec, prompt: LocatedPrompt, contextTokens: number): Uint32Array {
  const { path, source } = prompt;
  if ('tokens' in source) return tokenizeIds(codec, path, source.tokens, contextTokens);
  refuseHugeText(path, source.text.length, contextTokens);
  const tokens = encodePrompt(codec, source.text, true);
  if (tokens.length > 0) return tokens;
  throw new ServiceError(
    'invalid_value',
    `${path} must hold at least 1 token, got ${JSON.stringify(source.text)}`,
    {
      param: path,
    },
  );
}

/** Text to tokens with the model's beginning-of-sequence token in front, unless the text brings it along. */
export function encodePrompt(codec: TextCodec, text: string, addBeginToken: boolean): Uint32Array {
  const tokens = codec.encode(text, true);
  if (!addBeginToken || codec.beginToken === null || tokens[0] === codec.beginToken) return tokens;
  const withBegin = new Uint32Array(tokens.length + 1);
  withBegin[0] = codec.beginToken;
  withBegin.set(tokens, 1);
  return withBegin;
}

/** @throws ServiceError `context_length_exceeded` for text so long that tokenising it would stall the server */
export function refuseHugeText(path: string, characters: number, contextTokens: number): void {
  const limit = contextTokens * requestLimits.charactersPerToken;
  if (characters <= limit) return;
  throw new ServiceError(
    'context_length_exceeded',
    `This model's maximum context length is ${contextTokens} tokens. However, your ${path} has ${characters} characters, more than the ${limit} that are tokenised at all. Please reduce its length.`,
    { param: path },
  );
}

function tokenizeIds(
  codec: TextCodec,
  path: string,
  ids: readonly unknown[],
  contextTokens: number,
): Uint32Array {
  // Counted before a possibly huge array is walked; the exact complaint is the same.
  if (ids.length >= contextTokens) throw promptTooLong(path, ids.length, contextTokens);
  return parseTokenIds(path, ids, codec.vocabularySize);
}

/**
 * Prompt and completion must fit the window together.
 * @param path the field the prompt came from
 * @throws ServiceError `context_length_exceeded` with both numbers, in OpenAI's words
 */
export function requireFit(
  path: string,
  promptTokens: number,
  maxTokens: number | null,
  contextTokens: number,
): void {
  if (promptTokens >= contextTokens) throw promptTooLong(path, promptTokens, contextTokens);
  if (maxTokens === null || promptTokens + maxTokens <= contextTokens) return;
  throw new ServiceError(
    'context_length_exceeded',
    `This model's maximum context length is ${contextTokens} tokens. However, you requested ${promptTokens + maxTokens} tokens (${promptTokens} in the ${path}, ${maxTokens} in the completion). Please reduce the length of the ${path} or completion.`,
    { param: path },
  );
}

function promptTooLong(path: string, promptTokens: number, contextTokens: number): ServiceError {
  return new ServiceError(
    'context_length_exceeded',
    `This model's maximum context length is ${contextTokens} tokens. However, your ${path} resulted in ${promptTokens} tokens, which leaves no room for a completion. Please reduce the length of the ${path}.`,
    { param: path },
  );
}
