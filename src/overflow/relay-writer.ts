import type { GenerationEvent } from '../serving/serving-core.js';
import { type Frame, frameOf } from './frame.js';
import type { RedisScripts } from './redis-scripts.js';

/** After the first token, text of one choice is collected this long. */
const frameMs = 30;
const retryMs = 250;

export interface RelayWriterOptions {
  scripts: RedisScripts;
  requestId: string;
  ownerId: string;
  attempt: number;
  /** A later attempt has begun elsewhere: nothing of this one will be accepted any more. */
  onFenced: () => void;
  onSent: (bytes: number) => void;
  onTrouble: (error: unknown) => void;
}

/**
 * Writes one attempt's events into the request's stream, in order and one write at a time: what comes meanwhile is
 * merged, and a write whose answer got lost is repeated under the same id, which Redis takes once.
 */
export class RelayWriter {
  private readonly options: RelayWriterOptions;
  private readonly waiting: Frame[] = [];
  private sequence = 0;
  private isWriting = false;
  private isClosed = false;
  private nextWriteMs = 0;
  private timer: NodeJS.Timeout | null = null;
  private onEmpty: (() => void) | null = null;

  constructor(options: RelayWriterOptions) {
    this.options = options;
  }

  push(event: GenerationEvent): void {
    if (this.isClosed) return;
    this.merge(frameOf(event, Date.now()));
    this.schedule();
  }

  /** Resolves when everything is in Redis, or refused by it. */
  async finished(): Promise<void> {
    if (this.isClosed || (this.waiting.length === 0 && !this.isWriting)) return;
    await new Promise<void>((resolve) => {
      this.onEmpty = resolve;
    });
  }

  /** Nothing more is written. */
  close(): void {
    this.isClosed = true;
    this.waiting.length = 0;
    if (this.timer) clearTimeout(this.timer);
    this.onEmpty?.();
  }

  private merge(frame: Frame): void {
    const last = this.waiting.findLast((each) => 'c' in each && 'c' in frame && each.c === frame.c);
    if (last && 't' in last && 't' in frame) {
      last.t += frame.t;
      last.k.push(...frame.k);
    } else this.waiting.push(frame);
  }

  private schedule(): void {
    if (this.isWriting || this.waiting.length === 0) return;
    const isEnd = 'r' in this.waiting.at(-1)!;
    const delayMs = isEnd ? 0 : this.nextWriteMs - performance.now();
    if (delayMs > 0) this.timer ??= setTimeout(() => void this.write(), delayMs);
    else void this.write();
  }

  private async write(): Promise<void> {
    if (this.timer) clearTimeout(this.timer);
    this.timer = null;
    this.isWriting = true;
    this.nextWriteMs = performance.now() + frameMs;
    for (let left = this.waiting.length; left > 0 && !this.isClosed; left -= 1) {
      await this.writeFrame(JSON.stringify(this.waiting.shift()));
    }
    this.isWriting = false;
    if (this.waiting.length === 0) this.onEmpty?.();
    else this.schedule();
  }

  private async writeFrame(text: string): Promise<void> {
    const { requestId, ownerId, attempt, scripts, onFenced, onSent } = this.options;
    this.sequence += 1;
    const frame = { id: `${attempt}-${this.sequence}`, text };
    const listeners = await this.insist(() => scripts.writeFrame(requestId, ownerId, frame));
    if (this.isClosed) return;
    if (listeners !== null) {
      onSent(text.length);
      return;
    }
    this.close();
    onFenced();
  }

  /** Tries until Redis answers; only then is it known what happened. */
  private async insist(write: () => Promise<number | null>): Promise<number | null> {
    for (;;) {
      try {
        return await write();
      } catch (error) {
        if (this.isClosed) return null;
        this.options.onTrouble(error);
        await new Promise((resolve) => {
          setTimeout(resolve, retryMs);
        });
      }
    }
  }
}
