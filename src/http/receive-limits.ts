import type { IncomingMessage } from 'node:http';
import type { FastifyInstance } from 'fastify';

export interface ReceiveLimits {
  /** Milliseconds from the headers of a request to the end of its body. */
  wholeMs: number;
  /** Milliseconds without a byte, for uploads: they may take as long as they like while something arrives. */
  stallMs: number;
}

export const defaultReceiveLimits: ReceiveLimits = { wholeMs: 60_000, stallMs: 60_000 };

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Bodies so large that only a stall ends them. */
    isUpload?: boolean;
  }
}

/** Cuts off bodies that do not arrive. Node's own `requestTimeout` knows one limit for all routes. */
export function limitReceiving(server: FastifyInstance, { wholeMs, stallMs }: ReceiveLimits): void {
  server.addHook('onRequest', async ({ raw, routeOptions }, reply) => {
    const isUpload = routeOptions.config.isUpload === true;
    const timer = watch(raw, isUpload ? stallMs : wholeMs, isUpload, () => {
      const error = Object.assign(new Error('request timeout'), { code: 'ERR_HTTP_REQUEST_TIMEOUT' });
      server.server.emit('clientError', error, raw.socket);
    });
    reply.raw.once('close', () => clearInterval(timer));
  });
}

function watch(raw: IncomingMessage, everyMs: number, isUpload: boolean, cut: () => void): NodeJS.Timeout {
  let { bytesRead } = raw.socket;
  const timer = setInterval(() => {
    const hasArrived = raw.complete || raw.destroyed;
    const isFlowing = isUpload && raw.socket.bytesRead > bytesRead;
    bytesRead = raw.socket.bytesRead;
    if (!hasArrived && isFlowing) return;
    clearInterval(timer);
    if (!hasArrived) cut();
  }, everyMs);
  return timer.unref();
}
