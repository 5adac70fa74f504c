import type { IncomingMessage } from 'node:http';
import { type Endpoint, errorMessageOf, openRequest } from './endpoint.js';
import type { FailureKind, Outcome, RequestRecord, RequestSpec } from './records.js';
import { SseParser } from './sse.js';

export type ApiKind = 'completions' | 'chat';

/** What a request body carries, decided once by the feature probe. */
export interface RequestShape {
  api: ApiKind;
  model: string;
  includeUsage: boolean;
  ignoreEos: boolean;
  temperature: number;
}

export interface SendOptions {
  endpoint: Endpoint;
  shape: RequestShape;
  /** Ends the request from outside; the record then says "unfinished". */
  cut?: AbortSignal;
  timeoutMs: number;
  /** Called on every chunk with text, for live progress. */
  onToken?: () => void;
  scheduledAtMs?: number;
}

export function requestBody(spec: RequestSpec, shape: RequestShape): Record<string, unknown> {
  return {
    model: shape.model,
    ...(shape.api === 'chat'
      ? { messages: [{ role: 'user', content: spec.prompt }] }
      : { prompt: spec.prompt }),
    max_tokens: spec.outputTokens,
    temperature: shape.temperature,
    stream: true,
    ...(shape.includeUsage ? { stream_options: { include_usage: true } } : {}),
    ...(shape.ignoreEos ? { ignore_eos: true } : {}),
    ...(spec.serviceTier ? { service_tier: spec.serviceTier } : {}),
  };
}

/** Sends one streaming request; never rejects, every trouble is in the record. */
export function sendStreaming(spec: RequestSpec, options: SendOptions): Promise<RequestRecord> {
  return new Promise((resolve) => new StreamExchange(spec, options, resolve).start());
}

interface StreamChunk {
  choices?: {
    text?: string;
    delta?: { content?: string | null; reasoning_content?: string | null };
    finish_reason?: string | null;
  }[];
  usage?: {
    prompt_tokens?: number;
    completion_tokens?: number;
    prompt_tokens_details?: { cached_tokens?: number | null } | null;
  } | null;
  error?: unknown;
}

class StreamExchange {
  private readonly record: RequestRecord;
  private readonly parser = new SseParser();
  private readonly body: string;
  private readonly spec: RequestSpec;
  private readonly options: SendOptions;
  private readonly resolve: (record: RequestRecord) => void;
  private readonly timers: NodeJS.Timeout[] = [];
  private request: ReturnType<typeof openRequest> | undefined;
  private isSettled = false;
  private sawDone = false;

  constructor(spec: RequestSpec, options: SendOptions, resolve: (record: RequestRecord) => void) {
    this.spec = spec;
    this.options = options;
    this.resolve = resolve;
    this.body = JSON.stringify(requestBody(spec, options.shape));
    const nowMs = performance.now();
    this.record = {
      tag: spec.tag ?? '',
      outcome: 'unfinished',
      scheduledAtMs: options.scheduledAtMs ?? nowMs,
      sentAtMs: nowMs,
      finishedAtMs: nowMs,
      chunkAtMs: [],
      requestedPromptTokens: spec.promptTokens,
      requestedOutputTokens: spec.outputTokens,
      ...(spec.reusableTokens === undefined ? {} : { reusableTokens: spec.reusableTokens }),
      text: '',
    };
  }

  start(): void {
    const { cut, timeoutMs } = this.options;
    if (cut?.aborted) {
      this.settle('unfinished');
      return;
    }
    cut?.addEventListener('abort', this.onCut);
    this.timers.push(
      setTimeout(() => this.fail('timeout', `no end within ${Math.round(timeoutMs / 1000)} s`), timeoutMs),
    );
    if (this.spec.abortAfterChunks === 0) {
      this.timers.push(setTimeout(() => this.settle('aborted'), this.spec.abortDelayMs ?? 20));
    }
    this.send(true);
  }

  private readonly onCut = (): void => this.settle('unfinished');

  private send(mayRetry: boolean): void {
    const path = this.options.shape.api === 'chat' ? '/v1/chat/completions' : '/v1/completions';
    const request = openRequest(this.options.endpoint, 'POST', path, this.body);
    this.request = request;
    request.on('response', (response) => this.onResponse(response));
    request.on('error', (error) => {
      // A kept-alive socket that the server closed at the same moment says nothing about the server.
      if (mayRetry && request.reusedSocket && this.record.statusCode === undefined && !this.isSettled) {
        this.send(false);
        return;
      }
      this.fail('connection', (error as NodeJS.ErrnoException).code ?? error.message);
    });
    request.end(this.body);
  }

  private onResponse(response: IncomingMessage): void {
    this.record.statusCode = response.statusCode ?? 0;
    response.setEncoding('utf8');
    response.on('error', (error) => this.fail('stream', `the stream broke: ${error.message}`));
    if (response.statusCode !== 200) {
      this.readError(response);
      return;
    }
    if (!(response.headers['content-type'] ?? '').includes('text/event-stream')) {
      this.fail('stream', `not a stream: content-type "${response.headers['content-type'] ?? ''}"`);
      return;
    }
    response.on('data', (text: string) => this.onData(text));
    response.on('end', () => this.onEnd());
    response.on('aborted', () => this.fail('stream', 'the server cut the stream'));
  }

  private readError(response: IncomingMessage): void {
    let text = '';
    response.on('data', (chunk: string) => {
      text += chunk;
    });
    response.on('end', () => {
      const status = this.record.statusCode as number;
      const retryAfter = Number(response.headers['retry-after']);
      if (Number.isFinite(retryAfter)) this.record.retryAfterSeconds = retryAfter;
      this.record.error = `HTTP ${status}: ${errorMessageOf(text)}`;
      this.record.failureKind = 'status';
      this.settle(status === 429 || status === 503 ? 'rejected' : 'failed');
    });
  }

  private onData(text: string): void {
    const nowMs = performance.now();
    for (const data of this.parser.push(text)) {
      if (this.isSettled) return;
      if (data === '[DONE]') this.sawDone = true;
      else this.takeChunk(data, nowMs);
    }
  }

  private takeChunk(data: string, nowMs: number): void {
    let chunk: StreamChunk;
    try {
      chunk = JSON.parse(data) as StreamChunk;
    } catch {
      this.fail('stream', `a chunk is not JSON: ${data.slice(0, 60)}`);
      return;
    }
    if (chunk.error) {
      this.fail('stream', `error in the stream: ${errorMessageOf(data)}`);
      return;
    }
    this.takeUsage(chunk.usage);
    const choice = chunk.choices?.[0];
    const text = choice?.text ?? choice?.delta?.content ?? choice?.delta?.reasoning_content ?? '';
    if (choice?.finish_reason) this.record.finishReason = choice.finish_reason;
    if (text === '') return;
    this.record.text += text;
    this.record.chunkAtMs.push(nowMs);
    this.record.finishedAtMs = nowMs;
    this.options.onToken?.();
    if (this.spec.abortAfterChunks === this.record.chunkAtMs.length) this.settle('aborted');
  }

  private takeUsage(usage: StreamChunk['usage']): void {
    if (!usage) return;
    if (typeof usage.prompt_tokens === 'number') this.record.promptTokens = usage.prompt_tokens;
    if (typeof usage.completion_tokens === 'number') this.record.outputTokens = usage.completion_tokens;
    const cached = usage.prompt_tokens_details?.cached_tokens;
    if (typeof cached === 'number') this.record.cachedTokens = cached;
  }

  private onEnd(): void {
    if (this.isSettled) return;
    if (!this.sawDone && !this.record.finishReason) {
      this.fail('stream', 'the stream ended without [DONE] or a finish reason');
      return;
    }
    if (this.record.chunkAtMs.length === 0) {
      this.fail('stream', 'the stream carried no text');
      return;
    }
    this.settle('ok');
  }

  private fail(kind: FailureKind, error: string): void {
    if (this.isSettled) return;
    this.record.failureKind = kind;
    this.record.error = error;
    this.settle('failed');
  }

  private settle(outcome: Outcome): void {
    if (this.isSettled) return;
    this.isSettled = true;
    for (const timer of this.timers) clearTimeout(timer);
    this.options.cut?.removeEventListener('abort', this.onCut);
    this.record.outcome = outcome;
    if (outcome !== 'ok') {
      this.record.finishedAtMs = performance.now();
      // After a complete error reply the socket is back in the pool: leave it there.
      if (this.record.failureKind !== 'status') this.request?.destroy();
    }
    this.resolve(this.record);
  }
}
