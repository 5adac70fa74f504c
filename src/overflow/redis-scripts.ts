import type { Redis } from 'ioredis';
import { type PriorityClass, priorityClasses } from '../../scheduler/index.js';
import type { StoreDepth } from './overflow-store.js';
import type { RedisKeys } from './redis-keys.js';

/**
 * Opens an attempt: its number is one more than that of the last frame, and the frame it writes makes Redis refuse any
 * frame of an earlier attempt. Answers {attempt, frames so far}; attempt 0: cancelled.
 */
const beginScript = `
if redis.call('EXISTS', KEYS[2]) == 1 then return {0, {}} end
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
local attempt = 1
if #last > 0 then attempt = tonumber(string.match(last[1][1], '^(%d+)-')) + 1 end
local frames = {}
if attempt > 1 then frames = redis.call('XRANGE', KEYS[1], '-', '+') end
local id = attempt .. '-0'
redis.call('XADD', KEYS[1], id, 'f', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[4])
redis.call('PUBLISH', ARGV[2], ARGV[4] .. ' ' .. id .. ' ' .. ARGV[3])
return {attempt, frames}`;

/** Writes one frame and tells who listens. Answers how many do; -1: a later attempt has begun. */
const frameScript = `
local added = redis.pcall('XADD', KEYS[1], ARGV[1], 'f', ARGV[2])
if type(added) == 'table' and added.err then
  if not string.find(added.err, 'equal or smaller', 1, true) then return added end
  if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then return -1 end
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return redis.call('PUBLISH', ARGV[3], ARGV[5] .. ' ' .. ARGV[1] .. ' ' .. ARGV[2])`;

/** This process is alive. Answers what all that are say about themselves, as {id, text, id, text, ...}. */
const beatScript = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], now, ARGV[1])
local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - tonumber(ARGV[3]))
for _, id in ipairs(gone) do
  redis.call('ZREM', KEYS[2], id)
  redis.call('HDEL', KEYS[1], id)
end
return redis.call('HGETALL', KEYS[1])`;

/** The client of a request has left: whoever takes it later, or runs it now, hears of it. */
const cancelScript = `
redis.call('SET', KEYS[1], '1', 'PX', ARGV[1])
for key = 2, #KEYS do redis.call('ZREM', KEYS[key], ARGV[3]) end
return redis.call('PUBLISH', ARGV[2], ARGV[3])`;

interface Commands {
  chairliftBegin(
    tokens: string,
    cancelled: string,
    waitingSince: string,
    retentionMs: number,
    channel: string,
    frame: string,
    requestId: string,
  ): Promise<[number, [string, [string, string]][]]>;
  chairliftFrame(
    tokens: string,
    about: string,
    id: string,
    frame: string,
    channel: string,
    retentionMs: number,
    requestId: string,
  ): Promise<number>;
  chairliftBeat(nodes: string, beats: string, nodeId: string, text: string, ttlMs: number): Promise<string[]>;
  chairliftCancel(...keysAndArguments: (string | number)[]): Promise<number>;
}

/** A frame as Redis holds it: its id `<attempt>-<sequence>` and its text. */
export interface StoredFrame {
  id: string;
  text: string;
}

/** What chairlift asks of Redis beyond BullMQ, each one atomic. Every method rejects while Redis is away. */
export class RedisScripts {
  private readonly client: Redis & Commands;
  private readonly keys: RedisKeys;
  private readonly retentionMs: number;

  /** @param retentionMs how long a stream can be read after its last frame */
  constructor(client: Redis, keys: RedisKeys, retentionMs: number) {
    this.keys = keys;
    this.retentionMs = retentionMs;
    client.defineCommand('chairliftBegin', { numberOfKeys: 3, lua: beginScript });
    client.defineCommand('chairliftFrame', { numberOfKeys: 2, lua: frameScript });
    client.defineCommand('chairliftBeat', { numberOfKeys: 2, lua: beatScript });
    client.defineCommand('chairliftCancel', { numberOfKeys: 1 + priorityClasses.length, lua: cancelScript });
    this.client = client as Redis & Commands;
  }

  /** @returns the attempt's number and the frames of earlier ones; null: its client has left */
  async begin(
    requestId: string,
    ownerId: string,
    frame: string,
    priorityClass: PriorityClass,
  ): Promise<{ attempt: number; frames: StoredFrame[] } | null> {
    const { keys } = this;
    const [attempt, entries] = await this.client.chairliftBegin(
      keys.tokens(requestId),
      keys.cancelled(requestId),
      keys.waitingSince(priorityClass),
      this.retentionMs,
      keys.nodeChannel(ownerId),
      frame,
      requestId,
    );
    return attempt === 0 ? null : { attempt, frames: entries.map(toFrame) };
  }

  /** @returns how many processes listen; null: refused, a later attempt has begun */
  async writeFrame(requestId: string, ownerId: string, { id, text }: StoredFrame): Promise<number | null> {
    const { keys, retentionMs } = this;
    const channel = keys.nodeChannel(ownerId);
    const tokens = keys.tokens(requestId);
    const about = keys.about(requestId);
    const listeners = await this.client.chairliftFrame(
      tokens,
      about,
      id,
      text,
      channel,
      retentionMs,
      requestId,
    );
    return listeners === -1 ? null : listeners;
  }

  /** @param afterId exclusive; null: from the start */
  async readFrames(requestId: string, afterId: string | null): Promise<StoredFrame[]> {
    const from = afterId === null ? '-' : `(${afterId}`;
    const entries = await this.client.xrange(this.keys.tokens(requestId), from, '+');
    return entries.map((entry) => toFrame(entry as [string, [string, string]]));
  }

  /** @returns what the job's entry said of it; null: there is no such stream (any more) */
  async about(requestId: string): Promise<string | null> {
    return await this.client.get(this.keys.about(requestId));
  }

  async depth(): Promise<StoreDepth> {
    const depth: StoreDepth = {
      queued: { interactive: 0, standard: 0, batch: 0 },
      oldestMs: { interactive: 0, standard: 0, batch: 0 },
    };
    const nowMs = Date.now();
    await Promise.all(
      priorityClasses.map(async (name) => {
        const key = this.keys.waitingSince(name);
        const [queued, oldest] = await Promise.all([
          this.client.zcard(key),
          this.client.zrange(key, 0, 0, 'WITHSCORES'),
        ]);
        depth.queued[name] = queued;
        if (oldest[1] !== undefined) depth.oldestMs[name] = Math.max(0, nowMs - Number(oldest[1]));
      }),
    );
    return depth;
  }

  /** @returns what every live process says about itself, by its id */
  async beat(nodeId: string, text: string, ttlMs: number): Promise<Map<string, string>> {
    const flat = await this.client.chairliftBeat(this.keys.nodes, this.keys.beats, nodeId, text, ttlMs);
    const nodes = new Map<string, string>();
    for (let index = 0; index < flat.length; index += 2) nodes.set(flat[index]!, flat[index + 1]!);
    return nodes;
  }

  async cancel(requestId: string): Promise<void> {
    const { keys, retentionMs } = this;
    const waitingSince = priorityClasses.map((name) => keys.waitingSince(name));
    await this.client.chairliftCancel(
      keys.cancelled(requestId),
      ...waitingSince,
      retentionMs,
      keys.cancelChannel,
      requestId,
    );
  }

  async isCancelled(requestId: string): Promise<boolean> {
    return (await this.client.exists(this.keys.cancelled(requestId))) === 1;
  }

  async wake(): Promise<void> {
    await this.client.publish(this.keys.wakeChannel, '');
  }

  async farewell(nodeId: string): Promise<void> {
    await this.client.multi().hdel(this.keys.nodes, nodeId).zrem(this.keys.beats, nodeId).exec();
  }
}

function toFrame([id, [, text]]: [string, [string, string]]): StoredFrame {
  return { id, text };
}
