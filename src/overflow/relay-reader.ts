import { comesAfter, follows } from '../serving/event-id.js';
import type { GenerationEvent } from '../serving/serving-core.js';
import { eventOf, parseFrame } from './frame.js';
import { endingOf } from './job-cost.js';
import type { EventListener } from './overflow-store.js';
import type { RedisScripts, StoredFrame } from './redis-scripts.js';

export interface RelayReaderOptions {
  scripts: RedisScripts;
  requestId: string;
  choices: number;
  listener: EventListener;
  /** The last frame the client has: of earlier ones only endings are delivered again. null: it has none. */
  afterId: string | null;
  /** The opening frame of an attempt has come. */
  onBegun?: () => void;
  onDelay?: (delayMs: number) => void;
  /** No frame will follow. */
  onEnd: () => void;
}

/**
 * Puts one request's frames in order: published ones as they come, and from the stream itself whatever was missed
 * while nobody listened. Every frame is delivered once.
 */
export class RelayReader {
  private readonly options: RelayReaderOptions;
  private lastId: string | null = null;
  private unfinished: number;
  private isCatchingUp = false;
  private catchUpAgain = false;
  private isEnded = false;

  constructor(options: RelayReaderOptions) {
    this.options = options;
    this.unfinished = options.choices;
  }

  /** The number of the attempt whose frames came last; 0: none has. */
  get attempt(): number {
    return this.lastId === null ? 0 : Number.parseInt(this.lastId, 10);
  }

  /** A frame that was published. */
  receive(frame: StoredFrame): void {
    if (this.isEnded) return;
    // What the attempt before wrote last may never have been told: only the stream knows.
    const opensLater = this.lastId !== null && frame.id.endsWith('-0');
    if (!this.isCatchingUp && !opensLater && follows(frame.id, this.lastId)) this.take(frame);
    else if (this.isCatchingUp || comesAfter(frame.id, this.lastId)) void this.catchUp();
  }

  /**
   * Reads what the stream has and nobody has told.
   * @returns false if Redis did not answer, or somebody reads already
   */
  async catchUp(): Promise<boolean> {
    this.catchUpAgain = true;
    if (this.isCatchingUp) return false;
    this.isCatchingUp = true;
    try {
      while (this.catchUpAgain && !this.isEnded) {
        this.catchUpAgain = false;
        const { scripts, requestId } = this.options;
        for (const frame of await scripts.readFrames(requestId, this.lastId)) {
          if (this.isEnded) return true;
          if (follows(frame.id, this.lastId)) this.take(frame);
          else if (comesAfter(frame.id, this.lastId)) {
            this.fail('part of the answer was lost in Redis');
            return true;
          }
        }
      }
      return true;
    } catch {
      return false;
    } finally {
      this.isCatchingUp = false;
    }
  }

  /** Nothing is delivered any more. */
  stop(): void {
    this.isEnded = true;
  }

  /** After `stop`: frames count again. */
  goOn(): void {
    this.isEnded = false;
  }

  fail(message: string): void {
    this.deliver({ ...endingOf('error'), failure: { code: 'generation_failed', message } });
    this.end();
  }

  private take({ id, text }: StoredFrame): void {
    this.lastId = id;
    const frame = parseFrame(text);
    const event = eventOf(frame, id);
    if (event === null || 's' in frame) {
      this.options.onBegun?.();
      return;
    }
    const isNew = comesAfter(id, this.options.afterId);
    if (isNew) this.options.onDelay?.(Date.now() - frame.at);
    if (isNew || event.type === 'finished') this.deliver(event);
    if (event.type !== 'finished') return;
    this.unfinished -= 1;
    if (this.unfinished === 0 || event.failure) this.end();
  }

  private deliver(event: GenerationEvent): void {
    if (!this.isEnded) this.options.listener(event);
  }

  private end(): void {
    if (this.isEnded) return;
    this.isEnded = true;
    this.options.onEnd();
  }
}
