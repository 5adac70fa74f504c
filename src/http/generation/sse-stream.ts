import type { ServerResponse } from 'node:http';

export interface SseLimits {
  /** Silence after which a comment keeps proxies from closing the connection. */
  pingMs: number;
  /** How long a reader may take nothing at all before it is given up. */
  drainTimeoutMs: number;
}

export interface SseListener {
  /** The reader took everything; writing may go on. */
  drained(): void;
  /** The reader took nothing for `drainTimeoutMs`; the socket is already destroyed. */
  stalled(): void;
}

/** How long a failed stream may take to deliver its last event before the socket is cut regardless. */
const failureFlushMs = 5000;

/**
 * Server-sent events over one response. Events of one turn of the event loop leave in one write. While `blocked` the
 * kernel takes no more: callers hold their text back until `drained`.
 */
export class SseStream {
  private readonly response: ServerResponse;
  private readonly limits: SseLimits;
  private readonly listener: SseListener;
  private readonly pingTimer: NodeJS.Timeout;
  private drainTimer: NodeJS.Timeout | null = null;
  private outgoing = '';
  private closed = false;

  /** Sends the headers at once. */
  constructor(response: ServerResponse, limits: SseLimits, listener: SseListener) {
    this.response = response;
    this.limits = limits;
    this.listener = listener;
    response.writeHead(200, {
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-cache',
      // Tells nginx not to collect the stream.
      'x-accel-buffering': 'no',
    });
    response.flushHeaders();
    this.pingTimer = setTimeout(() => this.ping(), limits.pingMs);
    response.on('drain', () => this.resume());
    response.on('close', () => this.close());
    // A reset connection also closes; without a listener its error would end the process.
    response.on('error', () => {});
  }

  /** Whether the reader is behind. */
  get blocked(): boolean {
    return this.drainTimer !== null;
  }

  /** @param event a complete event, with its blank line */
  send(event: string): void {
    if (this.closed) return;
    if (this.outgoing === '') queueMicrotask(() => this.flush());
    this.outgoing += event;
  }

  /** The good end, after everything sent so far. */
  end(): void {
    this.flush();
    this.close();
    this.response.end();
  }

  /** The bad end: one last event, then a cut connection that no client can take for success. */
  fail(event: string): void {
    const socket = this.response.socket;
    this.send(event);
    this.flush();
    this.close();
    if (socket === null) {
      // A pipelined response whose turn has not come.
      this.response.destroy();
      return;
    }
    // Waits for what is written, not for the reader.
    socket.destroySoon();
    setTimeout(() => socket.destroy(), failureFlushMs).unref();
  }

  /** Cuts the connection without a word. */
  destroy(): void {
    this.close();
    this.response.destroy();
  }

  private flush(): void {
    if (this.closed || this.outgoing === '') return;
    const text = this.outgoing;
    this.outgoing = '';
    const roomLeft = this.response.write(text);
    this.pingTimer.refresh();
    if (roomLeft || this.blocked) return;
    this.drainTimer = setTimeout(() => this.giveUp(), this.limits.drainTimeoutMs);
  }

  private resume(): void {
    if (this.closed || this.drainTimer === null) return;
    clearTimeout(this.drainTimer);
    this.drainTimer = null;
    this.listener.drained();
  }

  private giveUp(): void {
    this.destroy();
    this.listener.stalled();
  }

  private ping(): void {
    if (this.closed) return;
    this.pingTimer.refresh();
    if (!this.blocked) this.send(': ping\n\n');
  }

  private close(): void {
    this.closed = true;
    this.outgoing = '';
    clearTimeout(this.pingTimer);
    if (this.drainTimer !== null) clearTimeout(this.drainTimer);
  }
}
