import type { PriorityClass } from '../../scheduler/index.js';

/** The names of everything chairlift keeps in Redis, all under one prefix. */
export interface RedisKeys {
  /** Of BullMQ, which puts it in front of the names of its queues. */
  prefix: string;
  queueName: string;
  /** Sorted set of the jobs that wait, as BullMQ keeps it. */
  waiting: string;
  /** List of the one whose turn it is, before all others; list of those that are being run. */
  next: string;
  active: string;
  /** BullMQ's set of running jobs that had no lock at the last check, and when that was. */
  stalled: string;
  stalledCheck: string;
  /** Hash of one job. */
  job: (requestId: string) => string;
  /** Hash of virtual times, per class and per class and tenant. */
  startTimes: string;
  /** Hash of what live processes say about themselves, and sorted set of when they last did. */
  nodes: string;
  beats: string;
  /** Stream of one request's frames. */
  tokens: (requestId: string) => string;
  /** What a stream is and whose, for whoever reads it again. */
  about: (requestId: string) => string;
  /** Sorted set of the requests of a class that nobody has begun with, by their arrival. */
  waitingSince: (priorityClass: PriorityClass) => string;
  /** Set for a while when a request's client has left. */
  cancelled: (requestId: string) => string;
  /** Channel on which one process hears of its requests. */
  nodeChannel: (nodeId: string) => string;
  /** Channel: there is something to take. */
  wakeChannel: string;
  /** Channel: `<attempt> <request>` that wait again after that attempt. */
  againChannel: string;
  /** Channel: ids of requests whose client has left. */
  cancelChannel: string;
}

export function redisKeys(prefix: string): RedisKeys {
  const queueName = 'overflow';
  return {
    prefix,
    queueName,
    waiting: `${prefix}:${queueName}:prioritized`,
    next: `${prefix}:${queueName}:wait`,
    active: `${prefix}:${queueName}:active`,
    stalled: `${prefix}:${queueName}:stalled`,
    stalledCheck: `${prefix}:${queueName}:stalled-check`,
    job: (requestId) => `${prefix}:${queueName}:${requestId}`,
    startTimes: `${prefix}:start-times`,
    nodes: `${prefix}:nodes`,
    beats: `${prefix}:beats`,
    tokens: (requestId) => `${prefix}:tok:${requestId}`,
    about: (requestId) => `${prefix}:about:${requestId}`,
    waitingSince: (priorityClass) => `${prefix}:waiting-since:${priorityClass}`,
    cancelled: (requestId) => `${prefix}:cancelled:${requestId}`,
    nodeChannel: (nodeId) => `${prefix}:to:${nodeId}`,
    wakeChannel: `${prefix}:wake`,
    againChannel: `${prefix}:again`,
    cancelChannel: `${prefix}:cancel`,
  };
}
