import type { FastifyInstance } from 'fastify';
import { modelNotFound } from '../parameters/model-name.js';
import type { RouteContext } from '../route-context.js';
import { modelDocument, modelListDocument } from '../schemas/service-schemas.js';

/** GET /v1/models and GET /v1/models/:id; an id may hold slashes. */
export function addModels(server: FastifyInstance, context: RouteContext): void {
  server.get('/v1/models', { schema: modelListDocument }, async () => ({
    object: 'list',
    data: [describeModel(context)],
  }));

  server.get<{ Params: { '*': string } }>('/v1/models/*', { schema: modelDocument }, async (request) => {
    const model = describeModel(context);
    if (request.params['*'] !== model.id) throw modelNotFound(request.params['*'], model.id);
    return model;
  });
}

function describeModel({ core }: RouteContext) {
  const { model } = core;
  return {
    id: model.id,
    object: 'model',
    created: model.createdSeconds,
    owned_by: 'chairlift',
    max_model_len: model.contextTokens,
  };
}
