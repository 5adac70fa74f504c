import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { describe } from 'vitest';
import { redisMissing } from './redis-missing.js';

export interface TestRedis {
  url: string;
  port: number;
  /** A connection of the test's own. */
  client: Redis;
  /** SIGKILL; what was written last may be lost, as with a real crash. */
  kill(): Promise<void>;
  /** The same data on the same port, after `kill`. */
  restart(): Promise<void>;
  stop(): Promise<void>;
}

/** A group of tests that start a redis-server of their own; skipped, with the reason, where there is none. */
export function describeWithRedis(name: string, tests: () => void): void {
  if (redisMissing === null) describe(name, tests);
  else describe.skip(`${name} (${redisMissing})`, tests);
}

/** A redis-server of the test's own, append-only and without eviction as docker-compose.yml has it. */
export async function startRedis(more: readonly string[] = []): Promise<TestRedis> {
  const directory = mkdtempSync(join(tmpdir(), 'chairlift-redis-'));
  const port = await freePort();
  const client = new Redis(port, '127.0.0.1', { lazyConnect: true, retryStrategy: () => 50 });
  client.on('error', () => {});
  let server = start(port, directory, more);
  await client.connect().catch(() => {});
  await answers(client);
  const kill = async () => {
    const exited = new Promise((resolve) => server.once('exit', resolve));
    server.kill('SIGKILL');
    await exited;
  };
  return {
    url: `redis://127.0.0.1:${port}`,
    port,
    client,
    kill,
    async restart() {
      server = start(port, directory, more);
      await answers(client);
    },
    async stop() {
      client.disconnect();
      if (server.exitCode === null && server.signalCode === null) await kill();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function start(port: number, directory: string, more: readonly string[]): ChildProcess {
  const options = ['--port', String(port), '--bind', '127.0.0.1', '--dir', directory, '--appendonly', 'yes'];
  const fixed = ['--maxmemory-policy', 'noeviction', '--save', '', '--loglevel', 'warning'];
  return spawn('redis-server', [...options, ...fixed, ...more], { stdio: 'ignore' });
}

async function answers(client: Redis): Promise<void> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      await client.ping();
      return;
    } catch (error) {
      if (attempt === 200) throw error;
      await new Promise((resolve) => setTimeout(resolve, 25));
    }
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address() as { port: number };
  await new Promise((resolve) => server.close(resolve));
  return port;
}
