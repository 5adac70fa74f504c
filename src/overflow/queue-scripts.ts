import type { Redis } from 'ioredis';
import { classAgingMs, priorityClasses } from '../../scheduler/index.js';
import type { OverflowJob } from './overflow-store.js';
import type { RedisKeys } from './redis-keys.js';

/**
 * A place is the score of a job among those that wait: class, then virtual start time, then arrival. A double holds 53
 * bits, 2 of them for the class and 15 for the arrival among equals.
 */
const stepsPerStart = 2 ** 15;
const stepsPerClass = 2 ** 51;
const unlimitedWaitMs = 7 * 24 * 3_600_000;

/**
 * Takes a job in, or answers that the store is full: one command, so nobody can come between the count and the job.
 * Start times are those of the scheduler's `StartTimes`, places those of its `OverflowQueue`. The job is written as
 * BullMQ writes it, with a few fields more. One that Redis had and lost goes back to the place it had. Answers
 * {added, depth, place}. A job that is there already counts as added.
 */
const addScript = `
local depth = redis.call('ZCARD', KEYS[1]) + redis.call('LLEN', KEYS[2])
if redis.call('EXISTS', KEYS[6]) == 1 then return {1, depth, redis.call('HGET', KEYS[6], 'place')} end
local place = ARGV[13]
if place == '' and depth >= tonumber(ARGV[1]) then return {0, depth, ''} end
local class, tenant = ARGV[2], ARGV[3]
if depth == 0 then
  local known = redis.call('HGETALL', KEYS[3])
  local latest = {}
  for index = 1, #known, 2 do
    local name = string.match(known[index], '^finish:(%a+):') or string.match(known[index], '^now:(%a+)$')
    if name then latest[name] = math.max(latest[name] or 0, tonumber(known[index + 1])) end
  end
  redis.call('DEL', KEYS[3])
  for name, time in pairs(latest) do redis.call('HSET', KEYS[3], 'now:' .. name, string.format('%.0f', time)) end
end
local now = tonumber(redis.call('HGET', KEYS[3], 'now:' .. class) or '0')
local finish = tonumber(redis.call('HGET', KEYS[3], 'finish:' .. class .. ':' .. tenant) or '0')
local start = math.max(now, finish)
if place == '' then
  local arrival = redis.call('HINCRBY', KEYS[3], 'arrivals', 1)
  place = string.format('%.0f', tonumber(ARGV[5]) * ${stepsPerClass} + start * ${stepsPerStart} + arrival % ${stepsPerStart})
else
  start = math.floor((tonumber(place) % ${stepsPerClass}) / ${stepsPerStart})
end
finish = math.max(finish, start + tonumber(ARGV[4]))
redis.call('HSET', KEYS[3], 'finish:' .. class .. ':' .. tenant, string.format('%.0f', finish))
redis.call('HSET', KEYS[6], 'name', 'generate', 'data', ARGV[10], 'opts', ARGV[11], 'timestamp', ARGV[7], 'delay', 0,
  'priority', tonumber(ARGV[5]) + 1, 'place', place, 'class', class, 'owner', ARGV[12])
redis.call('ZADD', KEYS[1], place, ARGV[6])
redis.call('ZADD', KEYS[4], ARGV[7], ARGV[6])
redis.call('SET', KEYS[5], ARGV[8], 'PX', ARGV[9])
return {1, depth, place}`;

/** Puts the next job where BullMQ looks first. Its own order knows no ageing. Answers whether there is one. */
const promoteScript = `
if redis.call('LLEN', KEYS[2]) > 0 then return 1 end
local chosen, chosenRank, earliest
for rank = 0, 2 do
  local first = redis.call('ZRANGEBYSCORE', KEYS[1], string.format('%.0f', rank * ${stepsPerClass}),
    '(' .. string.format('%.0f', (rank + 1) * ${stepsPerClass}), 'LIMIT', 0, 1)[1]
  if first then
    local oldest = redis.call('ZRANGE', KEYS[4 + rank], 0, 0, 'WITHSCORES')[2]
    local aged = (oldest and tonumber(oldest) or 0) + rank * ${classAgingMs}
    if not earliest or aged < earliest then chosen, chosenRank, earliest = first, rank, aged end
  end
end
if not chosen then return 0 end
redis.call('ZREM', KEYS[1], chosen)
redis.call('ZREM', KEYS[4 + chosenRank], chosen)
redis.call('LPUSH', KEYS[2], chosen)
local place = redis.call('HMGET', ARGV[1] .. chosen, 'place', 'class')
if place[1] and place[2] then
  local start = math.floor((tonumber(place[1]) % ${stepsPerClass}) / ${stepsPerStart})
  local now = tonumber(redis.call('HGET', KEYS[3], 'now:' .. place[2]) or '0')
  if start > now then redis.call('HSET', KEYS[3], 'now:' .. place[2], string.format('%.0f', start)) end
end
return 1`;

/** Lua: a job waits again, at its old place, and whoever holds its client hears of it. */
const waitAgain = `
local function waitAgain(id)
  local job = redis.call('HMGET', ARGV[1] .. id, 'place', 'class', 'timestamp')
  redis.call('ZADD', KEYS[1], job[1] or '0', id)
  if job[2] and job[3] then redis.call('ZADD', ARGV[2] .. job[2], job[3], id) end
  local last = redis.call('XREVRANGE', ARGV[3] .. id, '+', '-', 'COUNT', 1)[1]
  redis.call('PUBLISH', ARGV[4], (last and string.match(last[1], '^(%d+)-') or '0') .. ' ' .. id)
end`;

/** Answers 1; 0: it was not this process's any more. */
const putBackScript = `${waitAgain}
local id = ARGV[5]
local lock = ARGV[1] .. id .. ':lock'
if redis.call('GET', lock) ~= ARGV[6] then return 0 end
redis.call('DEL', lock)
redis.call('SREM', KEYS[3], id)
if redis.call('LREM', KEYS[2], 1, id) == 0 then return 0 end
waitAgain(id)
return 1`;

/**
 * BullMQ's check for jobs whose worker fell silent, which would put them before everybody else and in any order.
 * Answers how many there were.
 */
const requeueSilentScript = `${waitAgain}
if not redis.call('SET', KEYS[4], '1', 'NX', 'PX', ARGV[5]) then return 0 end
local count = 0
for _, id in ipairs(redis.call('SMEMBERS', KEYS[3])) do
  local job = ARGV[1] .. id
  if redis.call('EXISTS', job .. ':lock') == 0 and redis.call('LREM', KEYS[2], 1, id) > 0 then
    count = count + 1
    if redis.call('HINCRBY', job, 'stc', 1) > tonumber(ARGV[6]) then
      redis.call('HSET', job, 'defa', 'job stalled more than allowable limit')
    end
    waitAgain(id)
  end
end
redis.call('DEL', KEYS[3])
for _, id in ipairs(redis.call('LRANGE', KEYS[2], 0, -1)) do redis.call('SADD', KEYS[3], id) end
return count`;

/**
 * Ends a request that nobody can read in its own stream: a new attempt, which says why. Whatever an earlier attempt
 * still writes is refused.
 */
const refuseScript = `
local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
local attempt = (last and tonumber(string.match(last[1], '^(%d+)-')) or 0) + 1
local owner = redis.call('HGET', KEYS[1], 'owner')
for sequence, frame in ipairs({ARGV[1], ARGV[2]}) do
  local id = attempt .. '-' .. (sequence - 1)
  redis.call('XADD', KEYS[2], id, 'f', frame)
  if owner then redis.call('PUBLISH', ARGV[4] .. owner, ARGV[5] .. ' ' .. id .. ' ' .. frame) end
end
return redis.call('PEXPIRE', KEYS[2], ARGV[3])`;

interface Commands {
  chairliftAdd(...keysAndArguments: (string | number)[]): Promise<[number, number, string]>;
  chairliftPromote(...keysAndArguments: (string | number)[]): Promise<number>;
  chairliftPutBack(...keysAndArguments: (string | number)[]): Promise<number>;
  chairliftRequeueSilent(...keysAndArguments: (string | number)[]): Promise<number>;
  chairliftRefuse(...keysAndArguments: (string | number)[]): Promise<number>;
}

export interface AddedJob {
  job: OverflowJob;
  /** What `overflowCost` says. */
  cost: number;
  /** The job as text, and the process that holds its client. */
  data: string;
  ownerId: string;
  /** What a later reader of the stream needs to know, kept as long as the stream. */
  about: string;
  /** Where it was before Redis lost it; null: it is new. */
  place: string | null;
}

/** The order of the queue, which BullMQ does not have: each method one atomic step. They reject while Redis is away. */
export class QueueScripts {
  private readonly client: Redis & Commands;
  private readonly keys: RedisKeys;
  private readonly retentionMs: number;
  /** How long failed jobs are kept, in BullMQ's terms. */
  private readonly jobOptions: object;

  constructor(client: Redis, keys: RedisKeys, retentionMs: number, jobOptions: object) {
    this.keys = keys;
    this.retentionMs = retentionMs;
    this.jobOptions = jobOptions;
    client.defineCommand('chairliftAdd', { numberOfKeys: 6, lua: addScript });
    client.defineCommand('chairliftPromote', { numberOfKeys: 6, lua: promoteScript });
    client.defineCommand('chairliftPutBack', { numberOfKeys: 3, lua: putBackScript });
    client.defineCommand('chairliftRequeueSilent', { numberOfKeys: 4, lua: requeueSilentScript });
    client.defineCommand('chairliftRefuse', { numberOfKeys: 2, lua: refuseScript });
    this.client = client as Redis & Commands;
  }

  /**
   * @param maxOverflow the limit for new ones
   * @returns its place now, null: there is none left; and how many waited before it came
   */
  async add(added: AddedJob, maxOverflow: number): Promise<{ place: string | null; depth: number }> {
    const { job, cost, data, ownerId, about } = added;
    const { request, arrivedAtMs, deadlineAtMs } = job;
    const { id, priorityClass, tenant } = request;
    const { keys } = this;
    const rank = priorityClasses.indexOf(priorityClass);
    const longestWaitMs = deadlineAtMs === null ? unlimitedWaitMs : Math.max(0, deadlineAtMs - arrivedAtMs);
    const [isAdded, depth, place] = await this.client.chairliftAdd(
      ...[keys.waiting, keys.next, keys.startTimes, keys.waitingSince(priorityClass)],
      ...[keys.about(id), keys.job(id)],
      ...[maxOverflow, priorityClass, tenant, cost, rank, id, arrivedAtMs],
      ...[about, longestWaitMs + this.retentionMs, data],
      ...[
        JSON.stringify({ ...this.jobOptions, jobId: id, priority: rank + 1, attempts: 0 }),
        ownerId,
        added.place ?? '',
      ],
    );
    return { place: isAdded === 1 ? place : null, depth };
  }

  /** Puts the job whose turn it is before all others. @returns whether there is one */
  async promote(): Promise<boolean> {
    const { keys } = this;
    const since = priorityClasses.map((name) => keys.waitingSince(name));
    const [waiting, next, start] = [keys.waiting, keys.next, keys.startTimes];
    return (await this.client.chairliftPromote(waiting, next, start, ...since, keys.job(''))) === 1;
  }

  /** It waits again, where it was. @param token of the lock that this process holds */
  async putBack(requestId: string, token: string): Promise<void> {
    const { keys } = this;
    const places = [keys.waiting, keys.active, keys.stalled];
    await this.client.chairliftPutBack(...places, ...this.waitAgainArguments(), requestId, token);
  }

  /**
   * Jobs that have had no lock for a whole `periodMs` wait again; more often than once in that time nothing is done.
   * @param mostStalls after that often a job is to be set aside by whoever takes it
   */
  async requeueSilent(periodMs: number, mostStalls: number): Promise<number> {
    const { keys } = this;
    const places = [keys.waiting, keys.active, keys.stalled, keys.stalledCheck];
    return await this.client.chairliftRequeueSilent(
      ...[...places, ...this.waitAgainArguments(), periodMs, mostStalls],
    );
  }

  /** Tells the client of a job that nobody can read. @param frames opening and ending of a last attempt */
  async refuse(requestId: string, [opening, ending]: readonly [string, string]): Promise<void> {
    const { keys, retentionMs } = this;
    const touched = [keys.job(requestId), keys.tokens(requestId)];
    await this.client.chairliftRefuse(
      ...[...touched, opening, ending, retentionMs, keys.nodeChannel(''), requestId],
    );
  }

  private waitAgainArguments(): string[] {
    const { keys } = this;
    // Only the names' beginnings: the rest follows from the job.
    const since = keys.waitingSince('interactive').slice(0, -'interactive'.length);
    return [keys.job(''), since, keys.tokens(''), keys.againChannel];
  }
}
