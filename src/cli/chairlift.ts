#!/usr/bin/env node
// Imports nothing at the top: an old Node must reach the check below before it meets syntax it cannot read.
const oldestNodeMajor = 20;
const nodeMajor = Number(process.versions.node.split('.')[0]);

if (nodeMajor < oldestNodeMajor) {
  console.error(`chairlift needs Node ${oldestNodeMajor} or newer; this is Node ${process.versions.node}`);
  process.exitCode = 1;
} else {
  const { runCommandLine } = await import('./program.js');
  process.exitCode = await runCommandLine(process.argv.slice(2));
  // An abandoned download or a half-loaded model must not keep a finished command alive.
  setTimeout(() => process.exit(), 1_000).unref();
}
