import * as http from 'node:http';
import * as https from 'node:https';
import type { BatchLine } from './batch-line.js';
import type { TokenCounts } from './journal.js';
import { type LineAnswer, type LineAnswerer, LineDelayed } from './line-answerer.js';

const retryMs = 1_000;
const mostAttempts = 3;
const giveUpMs = 300_000;
const longestReplyBytes = 64 * 1024 * 1024;
/** Answers that say nothing about the line. */
const passing: ReadonlySet<number> = new Set([429, 503]);

interface Reply {
  status: number;
  headers: http.IncomingHttpHeaders;
  text: string;
}

/** Answers lines by sending each to an OpenAI-compatible server. */
export class ServerAnswerer implements LineAnswerer {
  private readonly baseUrl: string;
  private readonly headers: Record<string, string>;
  private readonly agent: http.Agent;
  private unreachableSinceMs: number | null = null;

  /** @param url with or without `/v1` */
  constructor(url: string, apiKey: string | null, connections: number) {
    const withScheme = /^https?:\/\//.test(url) ? url : `http://${url}`;
    this.baseUrl = withScheme.replace(/\/+$/, '').replace(/\/v1$/, '');
    this.headers = apiKey === null ? {} : { authorization: `Bearer ${apiKey}` };
    const transport = this.baseUrl.startsWith('https:') ? https : http;
    this.agent = new transport.Agent({ keepAlive: true, maxSockets: connections });
  }

  /** @throws Error in plain words when nothing answers */
  async requireReachable(): Promise<void> {
    try {
      await this.send('GET', '/v1/models', undefined, new AbortController().signal);
    } catch (error) {
      throw new Error(`cannot reach ${this.baseUrl}: ${reasonOf(error)}`);
    }
  }

  async answer(line: BatchLine, _tenant: string, stop: AbortSignal): Promise<LineAnswer | null> {
    for (let attempt = 1; ; attempt += 1) {
      const reply = await this.trySend(line, stop);
      if (reply === null) return null;
      if (passing.has(reply.status)) throw new LineDelayed(`status ${reply.status}`, delayMs(reply));
      if (reply.status >= 500 && attempt < mostAttempts) continue;
      const body = parseBody(reply);
      const requestId = String(reply.headers['x-request-id'] ?? '');
      return { status: reply.status, requestId, body, tokens: tokensOf(body) };
    }
  }

  close(): void {
    this.agent.destroy();
  }

  private async trySend({ endpoint, body }: BatchLine, stop: AbortSignal): Promise<Reply | null> {
    try {
      const reply = await this.send('POST', endpoint, JSON.stringify(body), stop);
      this.unreachableSinceMs = null;
      return reply;
    } catch (error) {
      if (stop.aborted) return null;
      const nowMs = performance.now();
      this.unreachableSinceMs ??= nowMs;
      if (nowMs - this.unreachableSinceMs > giveUpMs)
        throw new Error(
          `${this.baseUrl} has not answered for ${giveUpMs / 60_000} minutes: ${reasonOf(error)}`,
        );
      throw new LineDelayed(reasonOf(error), retryMs);
    }
  }

  private send(
    method: 'GET' | 'POST',
    path: string,
    body: string | undefined,
    signal: AbortSignal,
  ): Promise<Reply> {
    const url = new URL(this.baseUrl + path);
    const transport = url.protocol === 'https:' ? https : http;
    const type = body === undefined ? {} : { 'content-type': 'application/json' };
    return new Promise((resolve, reject) => {
      const headers = { ...this.headers, ...type };
      const request = transport.request(url, { method, agent: this.agent, headers, signal }, (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
          if (text.length > longestReplyBytes) response.destroy(new Error('the reply is too long'));
        });
        response.on('error', reject);
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, headers: response.headers, text }),
        );
      });
      request.on('error', reject);
      request.end(body);
    });
  }
}

function delayMs({ headers }: Reply): number {
  const seconds = Number(headers['retry-after']);
  return seconds > 0 ? seconds * 1000 : retryMs;
}

function parseBody({ text, status }: Reply): object {
  try {
    const body: unknown = JSON.parse(text);
    if (typeof body === 'object' && body !== null) return body;
  } catch {
    // Not JSON: told below.
  }
  const message = `the server answered ${status} without a JSON object`;
  return { error: { message, type: 'server_error', param: null, code: null } };
}

function tokensOf(body: object): TokenCounts {
  const { usage } = body as { usage?: Record<string, unknown> | null };
  const count = (value: unknown) => (typeof value === 'number' ? value : 0);
  const details = usage?.prompt_tokens_details as { cached_tokens?: unknown } | undefined;
  return [count(usage?.prompt_tokens), count(details?.cached_tokens), count(usage?.completion_tokens)];
}

function reasonOf(error: unknown): string {
  const { code, message } = error as NodeJS.ErrnoException;
  return code ?? message;
}
