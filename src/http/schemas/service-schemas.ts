import { Type } from '@sinclair/typebox';
import { errorResponses, nullable, oneOf } from './common-schemas.js';

const model = Type.Object({
  id: Type.String(),
  object: Type.Literal('model'),
  created: Type.Integer({ description: 'Unix seconds.' }),
  owned_by: Type.String(),
  max_model_len: Type.Integer({ description: 'Tokens of prompt and completion together.' }),
});

const health = Type.Object({
  status: oneOf(['ok', 'loading', 'draining', 'failed']),
  model: Type.String(),
  native: Type.Optional(
    Type.String({ description: 'What computes: the build of llama.cpp, or a simulation.' }),
  ),
  slots: Type.Object({
    total: Type.Integer(),
    running: Type.Integer(),
    cached: Type.Integer(),
    empty: Type.Integer(),
  }),
  waiting: Type.Integer(),
  redis: Type.String(),
});

const tokenIds = Type.Array(Type.Integer({ minimum: 0 }));

export const modelListDocument = {
  tags: ['models'],
  summary: 'List the model this server has',
  response: { 200: Type.Object({ object: Type.Literal('list'), data: Type.Array(model) }) },
};

export const modelDocument = {
  tags: ['models'],
  summary: 'Describe one model',
  params: Type.Object({ id: Type.String({ description: "The model's id; it may hold slashes." }) }),
  response: { 200: model, ...errorResponses },
};

export const healthDocument = {
  tags: ['service'],
  summary: 'Whether requests are taken',
  security: [],
  response: { 200: health, 503: health },
};

export const metricsDocument = {
  tags: ['service'],
  summary: 'Prometheus metrics',
  produces: ['text/plain'],
  response: { 200: Type.String() },
};

export const traceDocument = {
  tags: ['service'],
  summary: 'The inside of the next ticks, as Chrome trace JSON for chrome://tracing or Perfetto',
  querystring: Type.Object({
    ticks: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000, default: 100 })),
  }),
  response: { ...errorResponses },
};

export const tokenizeDocument = {
  tags: ['tokens'],
  summary: 'Text or a conversation to token ids',
  body: Type.Object({
    content: nullable(Type.String()),
    prompt: nullable(Type.String()),
    messages: nullable(Type.Array(Type.Object({}))),
    add_special: nullable(Type.Boolean({ description: 'Put the beginning-of-sequence token in front.' })),
  }),
  response: {
    200: Type.Object({ tokens: tokenIds, count: Type.Integer(), max_model_len: Type.Integer() }),
    ...errorResponses,
  },
};

export const detokenizeDocument = {
  tags: ['tokens'],
  summary: 'Token ids to text, special tokens included',
  body: Type.Object({ tokens: tokenIds }),
  response: { 200: Type.Object({ content: Type.String(), prompt: Type.String() }), ...errorResponses },
};

const streamId = Type.Object({ id: Type.String({ description: 'The id of the chunks, `chatcmpl-...`.' }) });

export const readStreamDocument = {
  tags: ['streams'],
  summary: 'Read a stream that came through Redis again, after the event named by Last-Event-ID',
  params: streamId,
  headers: Type.Object({ 'last-event-id': Type.Optional(Type.String()) }),
  response: { ...errorResponses },
};

export const cancelStreamDocument = {
  tags: ['streams'],
  summary: 'End the request of a stream',
  params: streamId,
  response: {
    200: Type.Object({ id: Type.String(), object: Type.Literal('stream'), deleted: Type.Boolean() }),
    ...errorResponses,
  },
};
