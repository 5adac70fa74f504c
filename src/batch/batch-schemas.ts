import { Type } from '@sinclair/typebox';
import { errorResponses, nullable } from '../http/schemas/common-schemas.js';
import { endpointNames } from './batch-line.js';

/** These schemas are documentation for /openapi.json; the code beside them decides. */

const file = Type.Object({
  id: Type.String(),
  object: Type.Literal('file'),
  bytes: Type.Integer(),
  created_at: Type.Integer({ description: 'Unix seconds.' }),
  filename: Type.String(),
  purpose: Type.String({ description: '`batch`, or `batch_output` for what a batch wrote.' }),
});

const batch = Type.Object({
  id: Type.String(),
  object: Type.Literal('batch'),
  endpoint: Type.String(),
  input_file_id: Type.String(),
  output_file_id: nullable(Type.String()),
  error_file_id: nullable(Type.String()),
  status: Type.String({
    description: 'validating, failed, in_progress, finalizing, completed, expired, cancelling or cancelled',
  }),
  request_counts: Type.Object({
    total: Type.Integer(),
    completed: Type.Integer(),
    failed: Type.Integer(),
  }),
});

const page = {
  limit: Type.Optional(Type.Integer({ minimum: 1 })),
  after: Type.Optional(Type.String({ description: 'The id of the last entry of the page before.' })),
};

const document = (tag: string, summary: string, more: object = {}) => ({ tags: [tag], summary, ...more });
const answers = (schema: object) => ({ response: { 200: schema, ...errorResponses } });
const list = (schema: ReturnType<typeof Type.Object>) =>
  Type.Object({ object: Type.Literal('list'), data: Type.Array(schema), has_more: Type.Boolean() });

export const fileDocuments = {
  create: document('files', 'Upload a JSONL file with purpose batch', {
    consumes: ['multipart/form-data'],
    ...answers(file),
  }),
  list: document('files', 'List files', { querystring: Type.Object(page), ...answers(list(file)) }),
  retrieve: document('files', 'Describe a file', answers(file)),
  content: document('files', 'Download a file', { response: { ...errorResponses } }),
  delete: document('files', 'Delete a file', { response: { ...errorResponses } }),
};

export const batchDocuments = {
  create: document('batches', 'Run the requests of a file in the gaps that other traffic leaves', {
    body: Type.Object({
      input_file_id: Type.String(),
      endpoint: Type.String({ description: `one of ${endpointNames}` }),
      completion_window: Type.String({ description: '`24h`; or any number of s, m, h, d' }),
      metadata: nullable(Type.Record(Type.String(), Type.String())),
    }),
    ...answers(batch),
  }),
  list: document('batches', 'List batches', { querystring: Type.Object(page), ...answers(list(batch)) }),
  retrieve: document('batches', 'Status and progress of a batch', answers(batch)),
  cancel: document('batches', 'Cancel a batch; what is answered is kept', answers(batch)),
};
