#!/usr/bin/env node
// CommonJS: this runs before Node starts its thread pool, which an ES module of Node 20 is too late for.
// Imports nothing at the top: an old Node must reach the check below before it meets syntax it cannot read.
const oldestNodeMajor = 20;
const nodeMajor = Number(process.versions.node.split('.')[0]);

/**
 * One thread for everything that leaves JavaScript, so that decode and sampling calls always come from the same one,
 * which stays on its core: a row alone decodes a third faster than from four threads in turn (ARCHITECTURE.md,
 * "libuv's pool has one thread", with the command that measures it). The price is that a file is read or written
 * between two calls.
 */
const threadPoolSize = '1';

async function main(): Promise<void> {
  const { runCommandLine } = await import('./program.js');
  process.exitCode = await runCommandLine(process.argv.slice(2));
  // An abandoned download or a half-loaded model must not keep a finished command alive.
  setTimeout(() => process.exit(), 1_000).unref();
}

if (nodeMajor < oldestNodeMajor) {
  console.error(`chairlift needs Node ${oldestNodeMajor} or newer; this is Node ${process.versions.node}`);
  process.exitCode = 1;
} else {
  if (!process.env.UV_THREADPOOL_SIZE) process.env.UV_THREADPOOL_SIZE = threadPoolSize;
  void main();
}
