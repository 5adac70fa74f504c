import { spawnSync } from 'node:child_process';

const hasServer = spawnSync('redis-server', ['--version']).status === 0;

/** Why tests that start a redis-server of their own cannot run here; null: they can. */
export const redisMissing = hasServer
  ? null
  : 'no redis-server on the PATH; install one to run these tests: sudo apt-get install redis-server';
