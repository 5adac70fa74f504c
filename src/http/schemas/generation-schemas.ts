import { type TSchema, Type } from '@sinclair/typebox';
import { requestLimits } from '../parameters/limits.js';
import { messageRoles } from '../parameters/messages.js';
import { type NumberParameter, numberParameters } from '../parameters/number-parameters.js';
import { errorResponses, nullable, oneOf } from './common-schemas.js';

/** These schemas are documentation for /openapi.json; the parsers in parameters/ decide, from the same limits. */

const textPart = Type.Object({
  type: oneOf(['text', 'input_text']),
  text: Type.String(),
});

const message = Type.Object({
  role: oneOf(messageRoles),
  content: nullable(Type.Union([Type.String(), Type.Array(textPart)])),
  name: nullable(Type.String()),
});

const tokenIds = Type.Array(Type.Integer({ minimum: 0 }));

const prompt = Type.Union([
  Type.String(),
  Type.Array(Type.String(), { maxItems: requestLimits.prompts }),
  tokenIds,
  Type.Array(tokenIds, { maxItems: requestLimits.prompts }),
]);

const stopString = Type.String({ minLength: 1, maxLength: requestLimits.stopStringCharacters });

const commonFields = {
  model: nullable(Type.String({ description: "The served model's id, `default`, or nothing." })),
  ...Object.fromEntries(Object.entries(numberParameters).map(([name, rule]) => [name, numberField(rule)])),
  stop: nullable(Type.Union([stopString, Type.Array(stopString, { maxItems: requestLimits.stopStrings })])),
  stream: nullable(Type.Boolean()),
  stream_options: nullable(Type.Object({ include_usage: nullable(Type.Boolean()) })),
  logit_bias: nullable(
    Type.Record(
      Type.String(),
      Type.Number({ minimum: -requestLimits.logitBias, maximum: requestLimits.logitBias }),
    ),
  ),
  ignore_eos: nullable(Type.Boolean({ description: 'Never end before max_tokens.' })),
  service_tier: nullable(
    Type.String({
      maxLength: requestLimits.serviceTierCharacters,
      description: '`flex` waits for others and never slows them; any other tier is interactive.',
    }),
  ),
  cache_salt: nullable(
    Type.String({
      maxLength: requestLimits.cacheSaltCharacters,
      description: 'Only requests with the same salt share cached prefixes.',
    }),
  ),
  user: nullable(Type.String({ maxLength: requestLimits.userCharacters })),
};

const usage = Type.Object({
  prompt_tokens: Type.Integer(),
  completion_tokens: Type.Integer(),
  total_tokens: Type.Integer(),
  prompt_tokens_details: Type.Object({ cached_tokens: Type.Integer() }),
});

const finishReason = oneOf(['stop', 'length']);

export const chatCompletionsDocument = {
  tags: ['generation'],
  summary: 'Answer a conversation',
  description:
    'With `stream: true` the answer is a stream of server-sent events that ends with `data: [DONE]`.',
  body: Type.Object({ messages: Type.Array(message, { minItems: 1 }), ...commonFields }),
  response: {
    200: answer(
      'chat.completion',
      Type.Object({
        index: Type.Integer(),
        message: Type.Object({ role: Type.Literal('assistant'), content: Type.String() }),
        finish_reason: finishReason,
      }),
    ),
    ...errorResponses,
  },
};

export const completionsDocument = {
  tags: ['generation'],
  summary: 'Continue one or more prompts',
  description:
    'With `stream: true` the answer is a stream of server-sent events that ends with `data: [DONE]`.',
  body: Type.Object({ prompt, ...commonFields }),
  response: {
    200: answer(
      'text_completion',
      Type.Object({ index: Type.Integer(), text: Type.String(), finish_reason: finishReason }),
    ),
    ...errorResponses,
  },
};

function numberField({ minimum, maximum, integer, description }: NumberParameter): TSchema {
  const limits = { minimum, maximum, description };
  return nullable(integer ? Type.Integer(limits) : Type.Number(limits));
}

function answer(object: string, choice: TSchema): TSchema {
  return Type.Object({
    id: Type.String(),
    object: Type.Literal(object),
    created: Type.Integer({ description: 'Unix seconds.' }),
    model: Type.String(),
    system_fingerprint: Type.String(),
    choices: Type.Array(choice),
    usage,
  });
}
