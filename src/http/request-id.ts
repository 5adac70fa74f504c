import { randomUUID } from 'node:crypto';
import type { IncomingMessage } from 'node:http';

export const requestIdHeader = 'x-request-id';

const acceptablePattern = /^[\w.:/-]{1,128}$/;

/** The client's own request id if it is safe to echo and log, else a new one. */
export function requestIdOf(request: IncomingMessage): string {
  const sent = request.headers[requestIdHeader];
  return typeof sent === 'string' && acceptablePattern.test(sent) ? sent : `req-${randomUUID()}`;
}
