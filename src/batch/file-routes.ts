import multipart, { type Multipart } from '@fastify/multipart';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { ServiceError } from '../errors.js';
import { invalidValue, missingField } from '../http/parameters/json-fields.js';
import type { BatchKeeper } from './batch-keeper.js';
import { parseExpiry } from './batch-parameters.js';
import { fileDocuments } from './batch-schemas.js';
import type { FileObject, FileStore, ReceivedContent } from './file-store.js';
import { listPage, readListQuery } from './listing.js';

type ById = { Params: { id: string } };
type Query = { Querystring: Record<string, unknown> };

const formLimits = { fieldNameSize: 100, fieldSize: 1024, fields: 10, files: 1, parts: 12, headerPairs: 100 };
const filenameCharacters = 255;

/** POST, GET /v1/files; GET, DELETE /v1/files/:id; GET /v1/files/:id/content */
export function addFileRoutes(server: FastifyInstance, keeper: BatchKeeper): void {
  const { files } = keeper;
  server.register(async (scope) => {
    // The store has limits of its own and a better message.
    await scope.register(multipart, { limits: { ...formLimits, fileSize: Number.POSITIVE_INFINITY } });
    const create = { schema: fileDocuments.create, config: { isUpload: true } };
    scope.post('/v1/files', create, (request) => receiveFile(request, files));
  });

  server.get<Query>('/v1/files', { schema: fileDocuments.list }, async (request) => {
    const query = readListQuery(request.query, 10_000, 10_000);
    const { purpose } = request.query;
    const all = await files.list(request.tenant);
    return listPage(purpose === undefined ? all : all.filter((file) => file.purpose === purpose), query);
  });

  server.get<ById>('/v1/files/:id', { schema: fileDocuments.retrieve }, async (request) =>
    files.find(request.params.id, request.tenant),
  );

  server.get<ById>('/v1/files/:id/content', { schema: fileDocuments.content }, async (request, reply) => {
    const file = await files.find(request.params.id, request.tenant);
    reply.header('content-length', file.bytes).type('application/octet-stream');
    return reply.send(files.open(file.id));
  });

  server.delete<ById>('/v1/files/:id', { schema: fileDocuments.delete }, async (request) => {
    const { id } = await files.find(request.params.id, request.tenant);
    await refuseWhileUsed(id, request.tenant, keeper);
    await files.delete(id);
    return { id, object: 'file', deleted: true };
  });
}

async function refuseWhileUsed(id: string, tenant: string, { batches }: BatchKeeper): Promise<void> {
  for (const batchId of await batches.unfinished()) {
    const record = await batches.read(batchId);
    if (record?.tenant !== tenant || record.batch.input_file_id !== id) continue;
    const message = `${id} is the input of ${batchId}, which is ${record.batch.status}; cancel that first`;
    throw new ServiceError('invalid_value', message, { param: 'file_id' });
  }
}

/** The parts may come in any order; the content goes to disk as it arrives and is dropped if the rest is wrong. */
async function receiveFile(request: FastifyRequest, files: FileStore): Promise<FileObject> {
  if (!request.isMultipart()) {
    throw new ServiceError('unsupported_media_type', 'files are uploaded as multipart/form-data');
  }
  const fields = new Map<string, string>();
  let filename = '';
  let content: ReceivedContent | null = null;
  try {
    for await (const part of request.parts()) {
      if (part.type === 'field') {
        fields.set(part.fieldname, fieldText(part));
        continue;
      }
      if (part.fieldname !== 'file') throw invalidValue('file', 'the only file of the form', part.fieldname);
      // Refused before 200 MB of it have arrived, where the order allows.
      if (fields.has('purpose')) requirePurpose(fields.get('purpose'));
      filename = (part.filename || 'file.jsonl').slice(0, filenameCharacters);
      content = await files.receive(part.file);
    }
    requirePurpose(fields.get('purpose'));
    if (content === null) throw missingField('file', 'a JSONL file');
    const { tenant } = request;
    return await files.keep(content, { tenant, filename, expiresAfterSeconds: expiryOf(fields) });
  } catch (error) {
    if (content !== null) await files.delete(content.id);
    throw error;
  }
}

function fieldText(part: Extract<Multipart, { type: 'field' }>): string {
  if (part.valueTruncated || typeof part.value !== 'string')
    throw invalidValue(
      part.fieldname.slice(0, 80),
      `text of at most ${formLimits.fieldSize} bytes`,
      part.value,
    );
  return part.value;
}

function requirePurpose(purpose: string | undefined): void {
  if (purpose === undefined) throw missingField('purpose', '"batch"');
  if (purpose !== 'batch') throw invalidValue('purpose', '"batch"', purpose);
}

/** Forms write `expires_after[seconds]`. */
function expiryOf(fields: ReadonlyMap<string, string>): number | null {
  const anchor = fields.get('expires_after[anchor]');
  const seconds = fields.get('expires_after[seconds]');
  if (anchor === undefined && seconds === undefined) return null;
  return parseExpiry('expires_after', { anchor, seconds });
}
