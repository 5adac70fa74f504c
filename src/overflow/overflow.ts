import { randomBytes } from 'node:crypto';
import type { FastifyInstance } from 'fastify';
import type { OverflowObserver } from '../metrics/overflow-observer.js';
import type { ServingCore } from '../serving/serving-core.js';
import { MemoryStore } from './memory-store.js';
import { OverflowCore } from './overflow-core.js';
import type { OverflowStore, RedisState, StoreDepth } from './overflow-store.js';
import { addQueueDashboard } from './queue-dashboard.js';
import { RedisLink } from './redis-link.js';
import { RedisStore } from './redis-store.js';
import type { StoredStream } from './stored-stream.js';

/** `ServeConfig` satisfies it. */
export interface OverflowConfig {
  role: 'all' | 'gateway' | 'worker';
  redisUrl: string | null;
  redisPrefix: string;
  maxOverflow: number;
  streamRetentionMs: number;
  redisLockMs: number;
}

export interface OverflowOptions {
  config: OverflowConfig;
  observer: OverflowObserver;
  onFault: (message: string, error: unknown) => void;
}

/** With Redis, a request goes there rather than wait longer than this in the line of one process. */
const targetWaitMs = { interactive: 2_000, standard: 10_000, batch: 60_000 };

/** The overflow of one process, from its start: connected to Redis, if there is one, before the model is loaded. */
export class Overflow {
  private readonly options: OverflowOptions;
  private readonly redisStore: RedisStore | null;
  private readonly store: OverflowStore;
  private core: OverflowCore | null = null;

  constructor(options: OverflowOptions) {
    this.options = options;
    const { redisUrl, maxOverflow } = options.config;
    this.redisStore = redisUrl === null ? null : this.openRedis(redisUrl);
    this.store =
      this.redisStore ??
      new MemoryStore({
        maxOverflow,
        retryAfterSeconds: (queued) => this.core?.retryAfterSeconds(queued) ?? 1,
        onExpired: () => options.observer.expired(),
      });
  }

  get redis(): RedisState {
    return this.store.redis;
  }

  /** Slots of all processes that take work from Redis; 0 without Redis. */
  get fleetSlotCount(): number {
    return this.redisStore?.directory.slotCount ?? 0;
  }

  openStream(id: string, tenant: string, afterId: string | null): Promise<StoredStream | null> {
    return this.redisStore?.openStream(id, tenant, afterId) ?? Promise.resolve(null);
  }

  async cancelStream(id: string): Promise<void> {
    await this.redisStore?.cancelStream(id);
  }

  /** Adds /admin/queues, where there is a Redis. */
  addDashboard(server: FastifyInstance): void {
    const { redisStore } = this;
    if (redisStore) addQueueDashboard(server, (use) => redisStore.queue.onQueue(use));
  }

  depth(): Promise<StoreDepth> {
    return this.store.depth();
  }

  /** @param local null: a gateway, which computes nothing */
  inFrontOf(local: ServingCore | null): ServingCore {
    const { observer, onFault, config } = this.options;
    if (local && this.redisStore === null && config.maxOverflow === 0) return local;
    this.core = new OverflowCore({
      local,
      store: this.store,
      announcedModel: () => this.redisStore?.directory.model ?? null,
      targetWaitMs,
      observer,
      onFault,
    });
    return this.core;
  }

  async close(): Promise<void> {
    await this.store.close();
  }

  private openRedis(url: string): RedisStore {
    const { config, observer, onFault } = this.options;
    const link = new RedisLink({ url, onFault });
    const takes = config.role !== 'gateway';
    const store = new RedisStore({
      link,
      keyPrefix: config.redisPrefix,
      nodeId: randomBytes(8).toString('hex'),
      maxOverflow: config.maxOverflow,
      retentionMs: config.streamRetentionMs,
      lockMs: config.redisLockMs,
      takes,
      announce: () => ({
        model: takes && this.core ? this.core.model : null,
        finishedPerSecond: this.core?.finishedPerSecond ?? 0,
      }),
      codec: () => this.core?.codec ?? null,
      observer,
      onFault,
    });
    link.start();
    return store;
  }
}
