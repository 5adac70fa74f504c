#!/usr/bin/env node
// CommonJS: this runs before Node starts its thread pool, which an ES module of Node 20 is too late for.
// Imports nothing at the top: an old Node must reach the check below before it meets what it cannot load.

/**
 * One thread for everything that leaves JavaScript, so that decode and sampling calls always come from the same one,
 * which stays on its core: a row alone decodes a third faster than from four threads in turn (ARCHITECTURE.md,
 * "libuv's pool has one thread", with the command that measures it). The price is that a file is read or written
 * between two calls.
 */
const threadPoolSize = '1';

async function main(): Promise<void> {
  const { isNodeNewEnough, neededNode } = await import('./node-version.js');
  if (!isNodeNewEnough(process.versions.node)) {
    console.error(`chairlift needs Node ${neededNode}; this is Node ${process.versions.node}`);
    process.exitCode = 1;
    return;
  }
  const { runCommandLine } = await import('./program.js');
  process.exitCode = await runCommandLine(process.argv.slice(2));
  // An abandoned download or a half-loaded model must not keep a finished command alive.
  setTimeout(() => process.exit(), 1_000).unref();
}

if (!process.env.UV_THREADPOOL_SIZE) process.env.UV_THREADPOOL_SIZE = threadPoolSize;
void main();
