import { spawnSync } from 'node:child_process';
import { expect, it } from 'vitest';

it('a machine without redis-server is told so in one sentence, and its tests end well', () => {
  const files = ['test/overflow/redis-overflow.test.ts', 'test/batch/redis.test.ts'];
  const words = ['node_modules/vitest/vitest.mjs', 'run', ...files];
  const environment = { HOME: process.env.HOME, PATH: '/nonexistent' };
  const run = spawnSync(process.execPath, words, { env: environment, encoding: 'utf8' });
  expect(run.stderr).toContain('install one to run these tests: sudo apt-get install redis-server');
  expect(run.stdout).toMatch(/Tests .*skipped/);
  expect(run.status).toBe(0);
});
