import type { ChatMessage, TextCodec } from '../engine/text-codec.js';
import { ServiceError } from '../errors.js';
import type { Prompt } from './serving-core.js';

/**
 * Text longer than this many characters per token of the window is refused without tokenising it, which would hold
 * up every running request (about a millisecond per thousand characters). Ordinary text has 3 to 5 per token.
 */
const charactersPerToken = 16;

/**
 * The tokens of a prompt, checked against the window.
 * @throws ServiceError `context_length_exceeded`, or `invalid_value` for a prompt of no tokens or a wrong conversation
 */
export function tokenizeWithin(
  codec: TextCodec,
  prompt: Prompt,
  maxTokens: number | null,
  contextTokens: number,
): Uint32Array {
  if (prompt instanceof Uint32Array) return prompt;
  const isChat = 'messages' in prompt;
  const tokens = isChat
    ? tokenizeChat(codec, prompt.messages, contextTokens)
    : tokenizeText(codec, prompt.path, prompt.text, contextTokens);
  requireFit(isChat ? 'messages' : prompt.path, tokens.length, maxTokens, contextTokens);
  return tokens;
}

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
  const limit = contextTokens * charactersPerToken;
  if (characters <= limit) return;
  throw tooLong(
    path,
    contextTokens,
    `your ${path} has ${characters} characters, more than the ${limit} that are tokenised at all. ` +
      'Please reduce its length.',
  );
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
  throw tooLong(
    path,
    contextTokens,
    `you requested ${promptTokens + maxTokens} tokens (${promptTokens} in the ${path}, ${maxTokens} in the ` +
      `completion). Please reduce the length of the ${path} or completion.`,
  );
}

export function promptTooLong(path: string, promptTokens: number, contextTokens: number): ServiceError {
  return tooLong(
    path,
    contextTokens,
    `your ${path} resulted in ${promptTokens} tokens, which leaves no room for a completion. ` +
      `Please reduce the length of the ${path}.`,
  );
}

function tooLong(path: string, contextTokens: number, however: string): ServiceError {
  const message = `This model's maximum context length is ${contextTokens} tokens. However, ${however}`;
  return new ServiceError('context_length_exceeded', message, { param: path });
}

function tokenizeText(codec: TextCodec, path: string, text: string, contextTokens: number): Uint32Array {
  refuseHugeText(path, text.length, contextTokens);
  const tokens = encodePrompt(codec, text, true);
  if (tokens.length > 0) return tokens;
  throw new ServiceError('invalid_value', `${path} must hold at least 1 token, got ${JSON.stringify(text)}`, {
    param: path,
  });
}
