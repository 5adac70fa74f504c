import type { FastifyInstance } from 'fastify';
import type { TextCodec } from '../../engine/text-codec.js';
import { ServiceError } from '../../errors.js';
import { encodePrompt, refuseHugeText, tokenizeChat } from '../../serving/prompt-tokens.js';
import {
  invalidValue,
  type JsonObject,
  missingField,
  readBody,
  readBoolean,
  readField,
} from '../parameters/json-fields.js';
import { parseMessages } from '../parameters/messages.js';
import { parseTokenIds } from '../parameters/token-ids.js';
import type { RouteContext } from '../route-context.js';
import { detokenizeDocument, tokenizeDocument } from '../schemas/service-schemas.js';

/** POST /tokenize and POST /detokenize, with the field names of both vLLM and llama-server. */
export function addTokenization(server: FastifyInstance, { core }: RouteContext): void {
  server.post('/tokenize', { schema: tokenizeDocument }, (request, reply) => {
    const codec = loadedCodec(core);
    const body = readBody(request.body);
    const tokens = Array.from(tokenizeBody(codec, core.model.contextTokens, body));
    return reply.send({ tokens, count: tokens.length, max_model_len: core.model.contextTokens });
  });

  server.post('/detokenize', { schema: detokenizeDocument }, (request, reply) => {
    const codec = loadedCodec(core);
    const values = readField(readBody(request.body), 'tokens');
    if (values === undefined) throw missingField('tokens', 'an array of token ids');
    if (!Array.isArray(values)) throw invalidValue('tokens', 'an array of token ids', values);
    const tokens = Array.from(parseTokenIds('tokens', values, codec.vocabularySize));
    const text = codec.spell(tokens);
    return reply.send({ content: text, prompt: text });
  });
}

function loadedCodec({ state, codec }: RouteContext['core']): TextCodec {
  if (state === 'failed') throw new ServiceError('engine_failed', 'the engine has failed');
  if (codec === null) throw new ServiceError('not_found', 'this gateway has no tokenizer; ask a worker');
  return codec;
}

function tokenizeBody(codec: TextCodec, contextTokens: number, body: JsonObject): Uint32Array {
  if (readField(body, 'messages') !== undefined) {
    return tokenizeChat(codec, parseMessages(body), contextTokens);
  }
  const { path, text } = findText(body);
  refuseHugeText(path, text.length, contextTokens);
  // llama-server's `content` stays bare unless asked; vLLM's `prompt` is what the model would be given.
  const fallback = readBoolean(body, 'add_special_tokens', path !== 'content');
  return encodePrompt(codec, text, readBoolean(body, 'add_special', fallback));
}

function findText(body: JsonObject): { path: string; text: string } {
  for (const path of ['content', 'prompt', 'text']) {
    const value = readField(body, path);
    if (value === undefined) continue;
    if (typeof value !== 'string') throw invalidValue(path, 'a string', value);
    return { path, text: value };
  }
  throw missingField('content', 'a string (or prompt, or messages)');
}
