/**
 * Every error a client can see. One entry gives the HTTP status, the OpenAI `type`, and (by its key) the OpenAI
 * `code` and the metric label, so the three never disagree.
 */
const errorCatalog = {
  invalid_value: { status: 400, type: 'invalid_request_error' },
  invalid_json: { status: 400, type: 'invalid_request_error' },
  unsupported_parameter: { status: 400, type: 'invalid_request_error' },
  context_length_exceeded: { status: 400, type: 'invalid_request_error' },
  invalid_api_key: { status: 401, type: 'authentication_error' },
  model_not_found: { status: 404, type: 'invalid_request_error' },
  not_found: { status: 404, type: 'invalid_request_error' },
  method_not_allowed: { status: 405, type: 'invalid_request_error' },
  request_timeout: { status: 408, type: 'timeout_error' },
  request_too_large: { status: 413, type: 'invalid_request_error' },
  unsupported_media_type: { status: 415, type: 'invalid_request_error' },
  queue_full: { status: 429, type: 'rate_limit_error' },
  wait_too_long: { status: 429, type: 'rate_limit_error' },
  generation_failed: { status: 500, type: 'server_error' },
  internal_error: { status: 500, type: 'server_error' },
  loading: { status: 503, type: 'server_error' },
  draining: { status: 503, type: 'server_error' },
  engine_failed: { status: 503, type: 'server_error' },
  overflow_unavailable: { status: 503, type: 'server_error' },
} as const satisfies Record<string, { status: number; type: string }>;

export type ErrorCode = keyof typeof errorCatalog;

/** The OpenAI error body: always all four keys. */
export interface ErrorBody {
  error: { message: string; type: string; param: string | null; code: string | null };
}

export interface ServiceErrorDetails {
  /** The request field at fault, as a path such as `messages[0].content`. */
  param?: string;
  /** Seconds for the Retry-After header; the openai client ignores values over 60. */
  retryAfterSeconds?: number;
  cause?: unknown;
}

/** An error a client is told about, as plain data. */
export interface ServiceFailure {
  code: ErrorCode;
  message: string;
  param?: string;
  retryAfterSeconds?: number;
}

export class ServiceError extends Error {
  readonly code: ErrorCode;
  readonly status: number;
  readonly type: string;
  readonly param: string | null;
  readonly retryAfterSeconds: number | undefined;

  constructor(code: ErrorCode, message: string, details: ServiceErrorDetails = {}) {
    super(message, { cause: details.cause });
    this.name = 'ServiceError';
    this.code = code;
    this.status = errorCatalog[code].status;
    this.type = errorCatalog[code].type;
    this.param = details.param ?? null;
    this.retryAfterSeconds = details.retryAfterSeconds;
  }

  toBody(): ErrorBody {
    return { error: { message: this.message, type: this.type, param: this.param, code: this.code } };
  }

  toFailure(): ServiceFailure {
    const { code, message, param, retryAfterSeconds } = this;
    return {
      code,
      message,
      ...(param !== null && { param }),
      ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
    };
  }
}

/** The error a failure was made from, in another process. */
export function toServiceError({ code, message, ...details }: ServiceFailure): ServiceError {
  return new ServiceError(code in errorCatalog ? code : 'internal_error', message, details);
}
