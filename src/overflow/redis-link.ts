import { Redis, type RedisOptions } from 'ioredis';

const connectTimeoutMs = 5_000;
const commandTimeoutMs = 5_000;
const longestRetryMs = 1_000;

export interface RedisLinkOptions {
  url: string;
  onFault: (message: string, error: unknown) => void;
}

/**
 * The connections of one process to Redis, one for commands and one for subscriptions, which come back by themselves.
 * Nothing queues up while Redis is away: commands fail at once. Errors never leave as exceptions nobody asked for.
 */
export class RedisLink {
  readonly commands: Redis;
  readonly subscriber: Redis;
  private readonly options: RedisLinkOptions;
  private readonly onUpListeners: (() => void)[] = [];
  private readonly handlers = new Map<string, (message: string) => void>();
  private troubled = false;
  private announcedDown = false;
  private wasUp = false;

  constructor(options: RedisLinkOptions) {
    this.options = options;
    const connection: RedisOptions = {
      lazyConnect: true,
      enableOfflineQueue: false,
      // A command whose answer got lost is repeated by whoever sent it and knows whether it may be.
      autoResendUnfulfilledCommands: false,
      // Commands that were under way fail with their connection, not five seconds later.
      maxRetriesPerRequest: 0,
      connectTimeout: connectTimeoutMs,
      retryStrategy: (attempt) => Math.min(50 * attempt, longestRetryMs),
    };
    this.commands = new Redis(options.url, { ...connection, commandTimeout: commandTimeoutMs });
    this.subscriber = new Redis(options.url, { ...connection, autoResubscribe: false });
    for (const client of [this.commands, this.subscriber]) {
      client.on('error', (error) => this.failed(error));
      client.on('close', () => this.lost());
      client.on('ready', () => this.ready());
    }
    this.subscriber.on('message', (channel: string, message: string) => this.dispatch(channel, message));
  }

  /** `degraded` before the first connection, too. */
  get state(): 'up' | 'degraded' {
    return this.wasUp && !this.troubled ? 'up' : 'degraded';
  }

  /** Starts connecting; never throws, however long Redis stays away. */
  start(): void {
    for (const client of [this.commands, this.subscriber]) client.connect().catch(() => {});
  }

  /** @param listener called whenever both connections are there again and every channel is subscribed */
  onUp(listener: () => void): void {
    this.onUpListeners.push(listener);
    if (this.wasUp) listener();
  }

  /** Subscribes now and after every reconnection. */
  subscribe(channel: string, handler: (message: string) => void): void {
    this.handlers.set(channel, handler);
    if (this.subscriber.status === 'ready') this.subscriber.subscribe(channel).catch(() => {});
  }

  /** Redis is there but refuses or delays what it is asked (out of memory, for example), or does so no longer. */
  noteTrouble(error: unknown): void {
    if (!this.troubled && this.wasUp) this.options.onFault('Redis refuses commands', error);
    this.troubled = true;
  }

  noteHealth(): void {
    this.troubled = false;
  }

  /** A command failed. While Redis is away that is no news. */
  noteFault(error: unknown): void {
    if (this.wasUp) this.options.onFault('a command to Redis failed', error);
  }

  async close(): Promise<void> {
    for (const client of [this.commands, this.subscriber]) client.disconnect();
  }

  private ready(): void {
    if (this.commands.status !== 'ready' || this.subscriber.status !== 'ready') return;
    const channels = [...this.handlers.keys()];
    const subscribed = channels.length > 0 ? this.subscriber.subscribe(...channels) : Promise.resolve();
    subscribed.then(
      () => {
        this.wasUp = true;
        this.troubled = false;
        this.announcedDown = false;
        for (const listener of this.onUpListeners) listener();
      },
      () => this.subscriber.disconnect(true),
    );
  }

  private lost(): void {
    this.wasUp = false;
  }

  private failed(error: Error): void {
    if (this.announcedDown) return;
    this.announcedDown = true;
    this.options.onFault('Redis cannot be reached; it is tried again until it can', error);
  }

  private dispatch(channel: string, message: string): void {
    try {
      this.handlers.get(channel)?.(message);
    } catch (error) {
      this.options.onFault(`a message on ${channel} could not be handled`, error);
    }
  }
}
