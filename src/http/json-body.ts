import type { FastifyInstance, FastifyRequest } from 'fastify';
import { ServiceError } from '../errors.js';
import { shorten } from './parameters/json-fields.js';

const byteOrderMark = '\uFEFF';

/** Bodies are JSON: `application/json` with any parameters, or no content type at all. */
export function acceptJsonBodies(server: FastifyInstance): void {
  server.removeAllContentTypeParsers();
  server.addContentTypeParser(
    'application/json',
    { parseAs: 'buffer' },
    async (request: FastifyRequest, body: Buffer) => parseJsonBody(request, body),
  );
  server.addContentTypeParser('*', { parseAs: 'buffer' }, async (request: FastifyRequest, body: Buffer) => {
    const contentType = request.headers['content-type'];
    if (contentType === undefined) return parseJsonBody(request, body);
    throw unsupportedMediaType(`content type ${JSON.stringify(shorten(contentType))}`);
  });
}

export function unsupportedMediaType(what: string): ServiceError {
  return new ServiceError('unsupported_media_type', `${what} is not supported; send application/json`);
}

function parseJsonBody(request: FastifyRequest, body: Buffer): unknown {
  const encoding = request.headers['content-encoding'];
  if (encoding !== undefined && encoding !== 'identity') {
    throw unsupportedMediaType(`content encoding ${JSON.stringify(shorten(encoding))}`);
  }
  const text = body.toString('utf8');
  try {
    // A key such as `__proto__` becomes an ordinary property here, so nothing needs filtering.
    return JSON.parse(text.startsWith(byteOrderMark) ? text.slice(1) : text);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new ServiceError('invalid_json', `the request body is not valid JSON: ${reason}`);
  }
}
