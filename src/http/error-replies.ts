import type { Socket } from 'node:net';
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { type ErrorBody, type ErrorCode, ServiceError } from '../errors.js';
import type { ServiceMetrics } from '../metrics/service-metrics.js';
import { unsupportedMediaType } from './json-body.js';
import { requestIdHeader, requestIdOf } from './request-id.js';

const longestRetrySeconds = 60;

/** The serving core reports these itself, whether or not an HTTP client caused them. */
const countedByTheCore: ReadonlySet<ErrorCode> = new Set([
  'queue_full',
  'draining',
  'engine_failed',
  'overflow_unavailable',
]);

/** Answers every error, ours, fastify's or unexpected, in the OpenAI shape. */
export class ErrorReplies {
  private readonly metrics: ServiceMetrics;
  private readonly maxBodyBytes: number;

  constructor(metrics: ServiceMetrics, maxBodyBytes: number) {
    this.metrics = metrics;
    this.maxBodyBytes = maxBodyBytes;
  }

  send(thrown: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
    const error = this.toServiceError(thrown);
    if (error.status >= 500 && error.status !== 503) request.log.error({ err: thrown }, error.message);
    if (!countedByTheCore.has(error.code)) this.metrics.requestRejected(error.code);
    reply.raw.setHeader(requestIdHeader, requestIdOf(request.raw));
    if (error.retryAfterSeconds !== undefined) {
      reply.header('retry-after', clampRetryAfter(error.retryAfterSeconds));
    }
    // The openai client repeats a 408 by itself; a request that was too long once is too long again.
    if (error.code === 'request_timeout') reply.header('x-should-retry', 'false');
    if (error.code === 'invalid_api_key') reply.header('www-authenticate', 'Bearer');
    return reply.code(error.status).send(error.toBody());
  }

  private toServiceError(thrown: unknown): ServiceError {
    if (thrown instanceof ServiceError) return thrown;
    const { code, statusCode } = thrown as Partial<FastifyError>;
    if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
      return new ServiceError(
        'request_too_large',
        `the request body must be at most ${this.maxBodyBytes} bytes`,
      );
    }
    if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') return unsupportedMediaType('this content type');
    if (code === 'FST_ERR_BAD_URL') return new ServiceError('not_found', 'the path is not a valid URL');
    if (typeof statusCode === 'number' && statusCode >= 400 && statusCode < 500) {
      return new ServiceError('invalid_value', (thrown as FastifyError).message);
    }
    return new ServiceError('internal_error', 'an unexpected error occurred', { cause: thrown });
  }
}

function clampRetryAfter(seconds: number): number {
  return Math.min(Math.max(Math.ceil(seconds), 1), longestRetrySeconds);
}

/** Replies to what is not even HTTP; there is no request object yet. */
export function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy();
    return;
  }
  const { status, message } = describeClientError(error.code);
  const body: ErrorBody = {
    error: { message, type: 'invalid_request_error', param: null, code: 'invalid_http' },
  };
  const text = JSON.stringify(body);
  socket.end(
    `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`,
  );
}

function describeClientError(code: string | undefined): { status: string; message: string } {
  if (code === 'HPE_HEADER_OVERFLOW') {
    return { status: '431 Request Header Fields Too Large', message: 'the request headers are too large' };
  }
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') {
    return { status: '408 Request Timeout', message: 'the request did not arrive in time' };
  }
  return { status: '400 Bad Request', message: 'the request is not valid HTTP' };
}
