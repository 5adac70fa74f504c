import { hidePassword } from '../config/load-config.js';

export type RedisState =
  | { state: 'not configured' }
  | { state: 'reachable'; url: string; pingMs: number }
  | { state: 'unreachable'; url: string; reason: string };

const probeMs = 1_000;

/** What an unreachable Redis means for clients. */
export const withoutRedis = 'until it is back, what does not fit into the line gets 503';

/** One PING, at most a second. Passwords never leave this function. */
export async function probeRedis(redisUrl: string | null): Promise<RedisState> {
  if (redisUrl === null) return { state: 'not configured' };
  const url = hidePassword(redisUrl);
  const { Redis } = await import('ioredis');
  const client = new Redis(redisUrl, {
    lazyConnect: true,
    connectTimeout: probeMs,
    commandTimeout: probeMs,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
    enableOfflineQueue: false,
  });
  let reason = 'no answer within 1 s';
  client.on('error', (error: NodeJS.ErrnoException) => {
    reason = error.code ?? error.message;
  });
  try {
    await client.connect();
    const startedMs = performance.now();
    await client.ping();
    return { state: 'reachable', url, pingMs: Math.round((performance.now() - startedMs) * 10) / 10 };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    return {
      state: 'unreachable',
      url,
      reason: /closed|timed out|writeable/i.test(message) ? reason : message,
    };
  } finally {
    client.disconnect();
  }
}

export function describeRedis(redis: RedisState): string {
  switch (redis.state) {
    case 'not configured':
      return 'not configured; requests wait in memory';
    case 'reachable':
      return `${redis.url}, reachable`;
    case 'unreachable':
      return `${redis.url}, UNREACHABLE (${redis.reason}); ${withoutRedis}`;
  }
}
