import { Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import type { GenerationRequest } from '../serving/serving-core.js';
import type { BullQueue } from './bull-queue.js';
import { choicesOf } from './job-cost.js';
import type { EventListener } from './overflow-store.js';
import type { RedisScripts } from './redis-scripts.js';
import { RelayReader } from './relay-reader.js';

const pollMs = 50;

const about = Type.Object({
  tenant: Type.String(),
  choices: Type.Integer({ minimum: 1 }),
  choicesPerPrompt: Type.Integer({ minimum: 1 }),
  presentation: Type.String(),
});

export function aboutText(request: GenerationRequest): string {
  const { tenant, choicesPerPrompt, presentation = '' } = request;
  return JSON.stringify({ tenant, choices: choicesOf(request), choicesPerPrompt, presentation });
}

export interface StoredStreamOptions {
  scripts: RedisScripts;
  queue: BullQueue;
  requestId: string;
  tenant: string;
  /** The last event the client has; null: none. */
  afterId: string | null;
}

/** The stream of a request, read again from Redis and followed to its end, whichever process it once came to. */
export class StoredStream {
  readonly choices: number;
  readonly choicesPerPrompt: number;
  /** What the request said of how its answer is written. */
  readonly presentation: string;
  private readonly options: StoredStreamOptions;
  private isStopped = false;
  private reader: RelayReader | null = null;

  /** @returns null if this tenant has no such stream (any more) */
  static async open(options: StoredStreamOptions): Promise<StoredStream | null> {
    const text = await options.scripts.about(options.requestId);
    const facts: unknown = text === null ? null : JSON.parse(text);
    if (!Value.Check(about, facts) || facts.tenant !== options.tenant) return null;
    return new StoredStream(options, facts);
  }

  private constructor(
    options: StoredStreamOptions,
    facts: { choices: number; choicesPerPrompt: number; presentation: string },
  ) {
    this.options = options;
    this.choices = facts.choices;
    this.choicesPerPrompt = facts.choicesPerPrompt;
    this.presentation = facts.presentation;
  }

  /** Endings the client may already have come again: usage is made of them. */
  follow(listener: EventListener): void {
    const { scripts, requestId, afterId } = this.options;
    const { choices } = this;
    this.reader = new RelayReader({
      scripts,
      requestId,
      choices,
      listener,
      afterId,
      onEnd: () => this.stop(),
    });
    void this.poll(this.reader);
  }

  stop(): void {
    this.isStopped = true;
    this.reader?.stop();
  }

  /** Polling, because what is published goes to the process that took the request. */
  private async poll(reader: RelayReader): Promise<void> {
    const { queue, requestId } = this.options;
    while (!this.isStopped) {
      const isAlive = await queue.has(requestId).catch(() => true);
      const hasRead = await reader.catchUp();
      if (this.isStopped) return;
      if (hasRead && !isAlive) reader.fail('the request was cancelled, or Redis has lost it');
      await new Promise((resolve) => setTimeout(resolve, pollMs));
    }
  }
}
