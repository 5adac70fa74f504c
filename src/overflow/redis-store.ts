import type { TextCodec } from '../engine/text-codec.js';
import { ServiceError } from '../errors.js';
import type { OverflowObserver } from '../metrics/overflow-observer.js';
import { overflowUnavailable } from './accept-gate.js';
import { BullQueue, jobOptions, type QueuedJob } from './bull-queue.js';
import { frameOf } from './frame.js';
import { costOf, endingOf } from './job-cost.js';
import {
  MalformedJobError,
  type ParsedJob,
  parseStoredJob,
  requireVocabulary,
  toStoredJob,
} from './job-format.js';
import { NodeDirectory } from './node-directory.js';
import { OpenRequests } from './open-requests.js';
import type {
  EventListener,
  OverflowJob,
  OverflowStore,
  RedisState,
  StoreDepth,
  TakenJob,
} from './overflow-store.js';
import { QueueScripts } from './queue-scripts.js';
import { type RedisKeys, redisKeys } from './redis-keys.js';
import type { RedisLink } from './redis-link.js';
import { RedisScripts } from './redis-scripts.js';
import { RedisTakenJob } from './redis-taken-job.js';
import { aboutText, StoredStream } from './stored-stream.js';

const longestSettlingMs = 5_000;
const longestRetrySeconds = 60;

export interface RedisStoreOptions {
  link: RedisLink;
  keyPrefix: string;
  nodeId: string;
  maxOverflow: number;
  /** How long a stream can be read again after its last frame. */
  retentionMs: number;
  lockMs: number;
  /** Whether this process takes jobs. */
  takes: boolean;
  /** What this process says about itself. */
  announce: NodeDirectory['announce'];
  /** Of the model here, for checking jobs; null: none takes jobs here. */
  codec: () => TextCodec | null;
  observer: OverflowObserver;
  onFault: (message: string, error: unknown) => void;
}

/** The overflow in Redis, shared by all processes with the same prefix. */
export class RedisStore implements OverflowStore {
  readonly directory: NodeDirectory;
  readonly queue: BullQueue;
  onWork: () => void = () => {};
  private readonly options: RedisStoreOptions;
  private readonly keys: RedisKeys;
  private readonly scripts: RedisScripts;
  private readonly places: QueueScripts;
  /** Requests whose clients are here. */
  private readonly open: OpenRequests;
  /** Jobs this process has, by request. */
  private readonly running = new Map<string, RedisTakenJob>();

  constructor(options: RedisStoreOptions) {
    const { link, keyPrefix, nodeId, retentionMs, lockMs, takes, announce, observer, onFault } = options;
    this.options = options;
    this.keys = redisKeys(keyPrefix);
    this.scripts = new RedisScripts(link.commands, this.keys, retentionMs);
    this.directory = new NodeDirectory(link, this.scripts, nodeId, announce);
    this.directory.onBeat = () => this.dropOrphans();
    this.places = new QueueScripts(link.commands, this.keys, retentionMs, jobOptions);
    this.queue = new BullQueue({
      link,
      keys: this.keys,
      scripts: this.places,
      nodeId,
      lockMs,
      takes,
      running: () => [...this.running.keys()],
      onRequeued: () => this.wakeAll(),
      onUnreadable: (jobId) => this.refuseUnread(jobId, 'its entry in Redis cannot be read'),
      onFault,
    });
    this.open = new OpenRequests({ link, scripts: this.scripts, queue: this.queue, observer });
    link.subscribe(this.keys.nodeChannel(nodeId), (message) => this.open.receive(message));
    link.subscribe(this.keys.againChannel, (message) => this.open.waitsAgain(message));
    link.subscribe(this.keys.cancelChannel, (requestId) => {
      this.running.get(requestId)?.drop();
      this.open.wasCancelled(requestId);
    });
    if (takes) link.subscribe(this.keys.wakeChannel, () => this.onWork());
    link.onUp(() => {
      this.onWork();
      this.dropCancelled().catch((error) => link.noteFault(error));
    });
    this.directory.start();
  }

  get redis(): RedisState {
    return this.options.link.state;
  }

  get queued(): number {
    return this.open.queued;
  }

  get elsewhere(): number {
    return this.open.elsewhere;
  }

  queuedAhead(): number {
    return 0;
  }

  queuedOf(tenant: string): number {
    return this.open.queuedOf(tenant);
  }

  async add(job: OverflowJob, listener: EventListener): Promise<void> {
    const { link } = this.options;
    if (link.state !== 'up') throw overflowUnavailable();
    const { request } = job;
    const opened = this.open.add(job, listener);
    try {
      await this.open.restored;
      if (!this.open.has(request.id)) return;
      const place = await this.enqueue(job, null);
      opened.restore = () => this.enqueue(job, place);
    } catch (error) {
      if (opened.state !== 'queued' && this.open.has(request.id)) {
        // Somebody has begun with it: only the answer of Redis got lost.
        opened.restore = () => this.enqueue(job, null);
        return;
      }
      this.open.forget(request.id, !(error instanceof ServiceError));
      if (error instanceof ServiceError) throw error;
      link.noteTrouble(error);
      throw overflowUnavailable();
    }
    if (!this.open.has(request.id)) this.open.revoke(request.id);
    else this.wakeAll();
  }

  cancel(requestId: string): void {
    const here = this.running.get(requestId);
    this.open.cancel(requestId);
    if (here && !here.request.resumable) here.drop();
  }

  async take(): Promise<TakenJob | null> {
    const { link } = this.options;
    while (link.state === 'up') {
      const job = await this.queue.next().catch((error) => {
        link.noteFault(error);
        return null;
      });
      if (job === null) return null;
      const taken = this.toTaken(job);
      if (taken !== null) return taken;
    }
    return null;
  }

  depth(): Promise<StoreDepth> {
    return this.scripts.depth();
  }

  /** @returns the stream of a request of this tenant, to be read again; null: there is none */
  openStream(requestId: string, tenant: string, afterId: string | null): Promise<StoredStream | null> {
    return StoredStream.open({ scripts: this.scripts, queue: this.queue, requestId, tenant, afterId });
  }

  /** Ends a request of any process. */
  async cancelStream(requestId: string): Promise<void> {
    await Promise.all([this.scripts.cancel(requestId), this.queue.remove(requestId)]);
  }

  async close(): Promise<void> {
    this.open.close();
    const settling = [...this.running.values()].map(({ settled }) => settled);
    await Promise.race([
      Promise.allSettled(settling),
      new Promise((resolve) => setTimeout(resolve, longestSettlingMs).unref()),
    ]);
    await this.directory.close();
    await this.queue.close();
    await this.options.link.close();
  }

  /** @param place where it was before Redis lost it; null: it is new. @returns where it is now */
  private async enqueue(job: OverflowJob, place: string | null): Promise<string> {
    const { maxOverflow, nodeId, announce } = this.options;
    const model = announce().model?.id ?? this.directory.model?.id ?? '';
    const added = {
      job,
      cost: costOf(job.request),
      data: JSON.stringify(toStoredJob(job, model, nodeId)),
      ownerId: nodeId,
      about: aboutText(job.request),
      place,
    };
    const { place: newPlace, depth } = await this.places.add(added, maxOverflow);
    if (newPlace !== null) return newPlace;
    const rate = this.directory.finishedPerSecond;
    const retryAfterSeconds = rate > 0 ? Math.ceil(depth / 2 / rate) : longestRetrySeconds;
    throw new ServiceError('queue_full', `${depth} requests wait in Redis, the limit is ${maxOverflow}`, {
      retryAfterSeconds: Math.min(longestRetrySeconds, Math.max(1, retryAfterSeconds)),
    });
  }

  private wakeAll(): void {
    this.scripts.wake().catch(() => {});
  }

  /** @returns null when there is nothing to do for it */
  private toTaken(job: QueuedJob): RedisTakenJob | null {
    const parsed = this.parse(job);
    if (parsed === null) return null;
    // Its lock ran out while this process was held up, and came back to it: the attempt goes on under the new lock.
    if (this.running.has(parsed.request.id)) return null;
    const taken = this.hold(job, parsed);
    if (job.deferredFailure) {
      this.refuse(taken, `${mostlyDied}: ${job.deferredFailure}`);
      return null;
    }
    if (!parsed.request.resumable && this.directory.isGone(parsed.ownerId)) {
      // Should it come back, its clients find the request lost and bring it again.
      taken.drop();
      return null;
    }
    return taken;
  }

  private parse(job: QueuedJob): ParsedJob | null {
    const { codec, announce, observer, onFault } = this.options;
    try {
      const parsed = parseStoredJob(job.data);
      const tokenizer = codec();
      if (tokenizer) requireVocabulary(parsed.request, tokenizer);
      const model = announce().model?.id;
      if (model !== undefined && parsed.model !== model)
        throw new MalformedJobError(`it is for the model ${parsed.model}, this process has ${model}`);
      if (parsed.request.id !== job.id) throw new MalformedJobError('its id is not the request’s');
      return parsed;
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      observer.parked();
      onFault(`job ${job.id} was set aside: ${reason}`, null);
      this.refuseUnread(job.id!, reason);
      this.queue.park(job, reason).catch((fault) => this.options.link.noteFault(fault));
      return null;
    }
  }

  private hold(job: QueuedJob, parsed: ParsedJob): RedisTakenJob {
    const { link, nodeId, observer } = this.options;
    const { id, resumable } = parsed.request;
    const taken = new RedisTakenJob({
      job,
      parsed,
      queue: this.queue,
      scripts: this.scripts,
      nodeId,
      observer,
      ownListener: () => (parsed.ownerId === nodeId && !resumable ? this.open.serveHere(id) : null),
      onPutBack: (attempt) => this.open.waitAgain(id, attempt),
      onReleased: () => {
        if (this.running.get(id) === taken) this.running.delete(id);
      },
      onTrouble: (error) => link.noteFault(error),
    });
    this.running.set(id, taken);
    return taken;
  }

  /** The client of a job that cannot be read is told, through the stream it waits for. */
  private refuseUnread(jobId: string, reason: string): void {
    const message = `a worker could not take this request over and set it aside: ${reason}`;
    const ending = { ...endingOf('error'), failure: { code: 'generation_failed', message } } as const;
    const frames = [{ s: this.options.nodeId }, frameOf(ending, Date.now())] as const;
    this.places
      .refuse(jobId, [JSON.stringify(frames[0]), JSON.stringify(frames[1])])
      .catch((error) => this.options.link.noteFault(error));
  }

  /** Its client is told, and the job is set aside for people to look at. */
  private refuse(taken: RedisTakenJob, message: string): void {
    this.options.observer.parked();
    taken
      .begin()
      .then((request) => {
        if (request === null) return;
        taken.deliver({ ...endingOf('error'), failure: { code: 'generation_failed', message } });
        taken.park(message);
      })
      .catch((error) => this.options.link.noteFault(error));
  }

  /** Those whose clients left while nobody here could hear of it. */
  private async dropCancelled(): Promise<void> {
    for (const taken of this.running.values())
      if (await this.scripts.isCancelled(taken.request.id)) taken.drop();
  }

  private dropOrphans(): void {
    for (const taken of this.running.values()) {
      if (!taken.request.resumable && this.directory.isGone(taken.ownerId)) taken.drop();
    }
  }
}

const mostlyDied = 'every worker that tried this request died';
