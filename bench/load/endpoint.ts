import * as http from 'node:http';
import * as https from 'node:https';

/** A server that speaks OpenAI's API, and how to reach it. */
export interface Endpoint {
  /** Without a trailing slash and without `/v1`. */
  baseUrl: string;
  apiKey?: string;
  agent: http.Agent;
}

/** The target cannot be measured; the message is one sentence for the person at the terminal. */
export class TargetError extends Error {
  override name = 'TargetError';
}

/**
 * @param url as people type it: `localhost:8080`, `http://host:1234/v1/`
 * @throws TargetError when it is no http(s) URL
 */
export function createEndpoint(url: string, apiKey?: string): Endpoint {
  const withScheme = /^[a-z]+:\/\//i.test(url) ? url : `http://${url}`;
  let parsed: URL;
  try {
    parsed = new URL(withScheme);
  } catch {
    throw new TargetError(`"${url}" is not a URL; give it like http://127.0.0.1:8080.`);
  }
  if (parsed.protocol !== 'http:' && parsed.protocol !== 'https:') {
    throw new TargetError(`"${url}" is not an http or https URL.`);
  }
  const path = parsed.pathname.replace(/\/+$/, '').replace(/\/v1$/, '');
  const options = { keepAlive: true, maxSockets: Number.POSITIVE_INFINITY, maxFreeSockets: 4096 };
  const agent = parsed.protocol === 'https:' ? new https.Agent(options) : new http.Agent(options);
  return { baseUrl: `${parsed.origin}${path}`, agent, ...(apiKey ? { apiKey } : {}) };
}

/** Opens a request; the caller listens for `response` and `error` and sends the body. */
export function openRequest(
  endpoint: Endpoint,
  method: 'GET' | 'POST',
  path: string,
  body?: string,
): http.ClientRequest {
  const url = new URL(endpoint.baseUrl + path);
  const transport = url.protocol === 'https:' ? https : http;
  return transport.request(url, {
    method,
    agent: endpoint.agent,
    headers: {
      ...(body === undefined
        ? {}
        : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
      ...(endpoint.apiKey ? { authorization: `Bearer ${endpoint.apiKey}` } : {}),
    },
  });
}

export interface PlainReply {
  status: number;
  contentType: string;
  server: string;
  text: string;
}

/**
 * A whole reply, for probes; streams are cut after `limitBytes`.
 * @throws TargetError when the server cannot be reached or does not answer in time
 */
export function fetchPlain(
  endpoint: Endpoint,
  method: 'GET' | 'POST',
  path: string,
  payload?: unknown,
  timeoutMs = 60_000,
): Promise<PlainReply> {
  return new Promise((resolve, reject) => {
    const body = payload === undefined ? undefined : JSON.stringify(payload);
    const request = openRequest(endpoint, method, path, body);
    request.setTimeout(timeoutMs, () =>
      request.destroy(
        new TargetError(`${endpoint.baseUrl}${path} gave no answer within ${timeoutMs / 1000} s.`),
      ),
    );
    request.on('error', (error) => reject(describeConnectionError(endpoint, error)));
    request.on('response', (response) => {
      response.setEncoding('utf8');
      let text = '';
      response.on('data', (chunk: string) => {
        text += chunk;
      });
      response.on('error', (error) => reject(describeConnectionError(endpoint, error)));
      response.on('end', () =>
        resolve({
          status: response.statusCode ?? 0,
          contentType: response.headers['content-type'] ?? '',
          server: String(response.headers.server ?? ''),
          text,
        }),
      );
    });
    request.end(body);
  });
}

export function describeConnectionError(endpoint: Endpoint, error: Error): TargetError {
  if (error instanceof TargetError) return error;
  const code = (error as NodeJS.ErrnoException).code ?? error.message;
  const reasons: Record<string, string> = {
    ECONNREFUSED: 'nothing listens there (connection refused)',
    ENOTFOUND: 'the host name is unknown',
    EAI_AGAIN: 'the host name cannot be looked up',
    ECONNRESET: 'the connection was reset',
    EPROTO: 'it does not speak TLS; try http:// instead of https://',
    HPE_INVALID_CONSTANT: 'it does not speak HTTP',
    ETIMEDOUT: 'it does not answer (timed out)',
    EHOSTUNREACH: 'the host cannot be reached',
  };
  return new TargetError(`Cannot reach ${endpoint.baseUrl}: ${reasons[code] ?? code}.`);
}

/** The message of an OpenAI error body, else the start of the text. */
export function errorMessageOf(text: string): string {
  try {
    const parsed = JSON.parse(text) as { error?: { message?: string } | string; message?: string };
    const message =
      typeof parsed.error === 'string' ? parsed.error : (parsed.error?.message ?? parsed.message);
    if (message) return message;
  } catch {
    // Not JSON: the text itself is the best there is.
  }
  return text.replace(/\s+/g, ' ').slice(0, 160).trim();
}
