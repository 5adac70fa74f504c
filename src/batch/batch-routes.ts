import type { FastifyInstance } from 'fastify';
import { ServiceError } from '../errors.js';
import { readBody } from '../http/parameters/json-fields.js';
import type { BatchKeeper } from './batch-keeper.js';
import { parseNewBatch } from './batch-parameters.js';
import { isFinal } from './batch-record.js';
import { batchDocuments } from './batch-schemas.js';
import { listPage, readListQuery } from './listing.js';

type ById = { Params: { id: string } };
type Query = { Querystring: Record<string, unknown> };

/** POST, GET /v1/batches; GET /v1/batches/:id; POST /v1/batches/:id/cancel */
export function addBatchRoutes(server: FastifyInstance, keeper: BatchKeeper): void {
  const { batches, files, core } = keeper;

  server.post('/v1/batches', { schema: batchDocuments.create }, async (request) => {
    // Only then it is known which model runs it.
    if (core.state === 'loading') throw new ServiceError('loading', 'the model is still being loaded');
    const wanted = parseNewBatch(readBody(request.body));
    const file = await files.find(wanted.inputFileId, request.tenant);
    if (file.purpose !== 'batch') {
      const message = `input_file_id must name a file with purpose "batch", ${file.id} has "${file.purpose}"`;
      throw new ServiceError('invalid_value', message, { param: 'input_file_id' });
    }
    const batch = await batches.create(request.tenant, core.model.id, wanted);
    keeper.scan();
    return batch;
  });

  server.get<Query>('/v1/batches', { schema: batchDocuments.list }, async (request) => {
    const query = readListQuery(request.query, 20, 100);
    return listPage(await batches.list(request.tenant), query);
  });

  server.get<ById>('/v1/batches/:id', { schema: batchDocuments.retrieve }, async (request) =>
    batches.find(request.params.id, request.tenant),
  );

  server.post<ById>('/v1/batches/:id/cancel', { schema: batchDocuments.cancel }, async (request) => {
    const { id, status } = await batches.find(request.params.id, request.tenant);
    if (isFinal(status) || status === 'finalizing') {
      const message = `Cannot cancel a batch with status '${status}'.`;
      throw new ServiceError('invalid_value', message, { param: 'batch_id' });
    }
    await batches.wishCancel(id);
    return batches.find(id, request.tenant);
  });
}
