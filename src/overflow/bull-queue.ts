import { type Job, type JobJson, Queue, UnrecoverableError, Worker } from 'bullmq';
import type { QueueScripts } from './queue-scripts.js';
import type { RedisKeys } from './redis-keys.js';
import type { RedisLink } from './redis-link.js';

/** After this many workers died over a job it is set aside. */
const mostStalls = 3;
/** What becomes of a job's entry when it ends. */
export const jobOptions = { removeOnComplete: true, removeOnFail: { count: 1_000 } };
const keptEvents = 1_000;

export type QueuedJob = Job<unknown, unknown, string>;

export interface BullQueueOptions {
  link: RedisLink;
  keys: RedisKeys;
  scripts: QueueScripts;
  /** Token of every lock this process holds. */
  nodeId: string;
  /** Milliseconds after which a silent worker loses its jobs. */
  lockMs: number;
  /** Whether this process takes jobs. */
  takes: boolean;
  /** Ids of the jobs that run here. */
  running: () => string[];
  /** Somebody else's jobs wait again. */
  onRequeued: () => void;
  /** A job had to be set aside before anybody could look at it. */
  onUnreadable: (jobId: string) => void;
  onFault: (message: string, error: unknown) => void;
}

/** Data that is no JSON becomes null instead of an exception in the middle of BullMQ. */
class TolerantWorker extends Worker {
  protected override createJob(data: JobJson, jobId: string): Job {
    try {
      return super.createJob(data, jobId);
    } catch {
      return super.createJob({ ...data, data: 'null' }, jobId);
    }
  }
}

/**
 * BullMQ as a store that is pulled from: nothing is taken that was not asked for, and nothing waits for Redis. Built at
 * the first connection, because a queue built earlier may swallow its first jobs. Every method rejects while
 * Redis is away.
 */
export class BullQueue {
  private readonly options: BullQueueOptions;
  private queue: Queue | null = null;
  private worker: Worker | null = null;
  private readonly whenOpen: ((queue: Queue) => void)[] = [];
  private timers: NodeJS.Timeout[] = [];

  constructor(options: BullQueueOptions) {
    this.options = options;
    options.link.onUp(() => this.open());
  }

  /** Takes a job away that nobody has taken. */
  async remove(jobId: string): Promise<void> {
    await this.opened().remove(jobId);
  }

  async has(jobId: string): Promise<boolean> {
    const { link } = this.options;
    return (await link.commands.exists(this.opened().toKey(jobId))) === 1;
  }

  /** @param use gets the queue itself, for a dashboard, once there is one */
  onQueue(use: (queue: Queue) => void): void {
    if (this.queue) use(this.queue);
    else this.whenOpen.push(use);
  }

  /** @returns the next job, locked for this process, or null */
  async next(): Promise<QueuedJob | null> {
    if (this.worker === null || !(await this.options.scripts.promote())) return null;
    try {
      return (await this.worker.getNextJob(this.options.nodeId, { block: false })) ?? null;
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      await this.parkUnreadable(error);
      return null;
    }
  }

  async complete(job: QueuedJob): Promise<void> {
    await job.moveToCompleted(null, this.options.nodeId, false);
  }

  /** Sets a job aside among the failed ones, with a reason for whoever looks at them. */
  async park(job: QueuedJob, reason: string): Promise<void> {
    await job.moveToFailed(new UnrecoverableError(reason), this.options.nodeId, false);
  }

  async putBack(job: QueuedJob): Promise<void> {
    await this.options.scripts.putBack(job.id!, this.options.nodeId);
  }

  async close(): Promise<void> {
    for (const timer of this.timers) clearInterval(timer);
    await Promise.allSettled([this.worker?.close(true), this.queue?.close()]);
  }

  private opened(): Queue {
    if (this.queue === null) throw new Error('Redis has not been reached yet');
    return this.queue;
  }

  private open(): void {
    if (this.queue !== null) return;
    const { link, keys, lockMs, takes } = this.options;
    const common = { connection: link.commands, prefix: keys.prefix };
    this.queue = new Queue(keys.queueName, {
      ...common,
      streams: { events: { maxLen: keptEvents } },
      defaultJobOptions: jobOptions,
    });
    this.queue.on('error', (error) => link.noteFault(error));
    for (const use of this.whenOpen) use(this.queue);
    if (!takes) return;
    this.worker = new TolerantWorker(keys.queueName, null, {
      ...common,
      autorun: false,
      lockDuration: lockMs,
      skipStalledCheck: true,
    });
    this.worker.on('error', (error) => link.noteFault(error));
    this.timers = [
      setInterval(() => this.requeueSilent(), lockMs / 2).unref(),
      setInterval(() => this.renewLocks(), lockMs / 3).unref(),
    ];
  }

  /** Jobs of workers that fell silent. */
  private requeueSilent(): void {
    const { scripts, lockMs, link, onRequeued } = this.options;
    if (link.state !== 'up') return;
    scripts.requeueSilent(Math.floor(lockMs / 2), mostStalls).then(
      (count) => count > 0 && onRequeued(),
      (error) => link.noteFault(error),
    );
  }

  private renewLocks(): void {
    const { running, nodeId, lockMs, link } = this.options;
    const ids = running();
    if (ids.length === 0 || link.state !== 'up') return;
    // A lock that is lost needs no answer here: whoever gets the job next makes Redis refuse our frames.
    this.worker
      ?.extendJobLocks(
        ids,
        ids.map(() => nodeId),
        lockMs,
      )
      .catch((error) => link.noteFault(error));
  }

  /**
   * A job so broken that BullMQ cannot even name it: of those locked by this process that do not run here, it is the one
   * taken last. Another may be waiting for its lock to run out.
   */
  private async parkUnreadable(error: Error): Promise<void> {
    const { link, nodeId, running, onFault } = this.options;
    const { commands } = link;
    const queue = this.opened();
    const known = new Set(running());
    for (const id of await commands.lrange(queue.toKey('active'), 0, -1)) {
      if (known.has(id) || (await commands.get(`${queue.toKey(id)}:lock`)) !== nodeId) continue;
      await commands
        .multi()
        .lrem(queue.toKey('active'), 1, id)
        .del(`${queue.toKey(id)}:lock`)
        .srem(queue.toKey('stalled'), id)
        .hset(
          queue.toKey(id),
          'failedReason',
          `cannot be read: ${error.message}`,
          'opts',
          '{}',
          'progress',
          '0',
        )
        .zadd(queue.toKey('failed'), Date.now(), id)
        .exec();
      this.options.onUnreadable(id);
      onFault(`job ${id} cannot be read and was set aside`, error);
      return;
    }
  }
}
