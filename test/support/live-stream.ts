import { expect } from 'vitest';
import { until } from './http-client.js';

interface Chunk {
  id?: string;
  choices: { delta?: { content?: string }; text?: string; finish_reason: string | null }[];
  usage?: Record<string, unknown> | null;
  error?: { code: string; message: string };
}

/** One streamed answer, as far as it has come. */
export class LiveStream {
  /** HTTP status; 0 while there is none. */
  status = 0;
  text = '';
  /** `id:` of the events, in order. */
  readonly ids: string[] = [];
  /** The id of the answer, which names the stream; null before the first event. */
  request: string | null = null;
  finishReason: string | null = null;
  usage: Record<string, unknown> | null = null;
  error: { code: string; message: string } | null = null;
  isDone = false;
  headers = new Headers();
  /** Resolves when nothing more comes, for whatever reason. */
  readonly ended: Promise<void>;
  private readonly controller = new AbortController();

  constructor(url: string, init: RequestInit) {
    this.ended = this.read(url, init).catch(() => {});
  }

  /** The client goes away. */
  leave(): void {
    this.controller.abort();
  }

  /** Waits for some text. */
  async begun(): Promise<void> {
    await until(() => this.text.length > 0 || this.error !== null, 20_000);
    expect(this.error).toBeNull();
  }

  private async read(url: string, init: RequestInit): Promise<void> {
    const response = await fetch(url, { ...init, signal: this.controller.signal });
    this.status = response.status;
    this.headers = response.headers;
    const decoder = new TextDecoder();
    let unread = '';
    for await (const bytes of response.body!) {
      unread += decoder.decode(bytes, { stream: true });
      const events = unread.split('\n\n');
      unread = events.pop()!;
      for (const event of events) this.take(event);
    }
    if (response.status !== 200) this.error = (JSON.parse(unread) as { error: LiveStream['error'] }).error;
  }

  private take(event: string): void {
    for (const line of event.split('\n')) {
      if (line.startsWith('id: ')) this.ids.push(line.slice(4));
      if (!line.startsWith('data: ')) continue;
      const data = line.slice(6);
      if (data === '[DONE]') this.isDone = true;
      else this.takeChunk(JSON.parse(data) as Chunk);
    }
  }

  private takeChunk({ id, choices = [], usage, error }: Chunk): void {
    this.request ??= id ?? null;
    this.error ??= error ?? null;
    this.usage ??= usage ?? null;
    for (const { delta, text, finish_reason } of choices) {
      this.text += delta?.content ?? text ?? '';
      this.finishReason ??= finish_reason;
    }
  }
}

/** POST /v1/completions with `stream: true` and usage. */
export function streamCompletion(
  url: string,
  body: Record<string, unknown>,
  headers: Record<string, string> = {},
): LiveStream {
  return new LiveStream(`${url}/v1/completions`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify({ ...body, stream: true, stream_options: { include_usage: true } }),
  });
}

/** GET /v1/streams/{request}. */
export function resumeStream(url: string, request: string, lastEventId?: string): LiveStream {
  const headers: Record<string, string> = lastEventId === undefined ? {} : { 'last-event-id': lastEventId };
  return new LiveStream(`${url}/v1/streams/${request}`, { headers });
}

/** No event came twice or out of order. */
export function expectInOrder(ids: readonly string[]): void {
  const numbers = ids.map((id) => id.split('-').map(Number) as [number, number]);
  numbers.forEach(([attempt, sequence], index) => {
    const [lastAttempt, lastSequence] = numbers[index - 1] ?? [0, 0];
    expect(attempt > lastAttempt || (attempt === lastAttempt && sequence > lastSequence), ids.join(' ')).toBe(
      true,
    );
  });
}
