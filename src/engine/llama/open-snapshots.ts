import { existsSync, mkdirSync, statfsSync } from 'node:fs';
import { freemem } from 'node:os';
import { SnapshotStore } from './snapshot-store.js';

const sharedMemory = '/dev/shm';
/** Shares of what is free that snapshots take by default. */
const fileSystemShare = 0.25;
const memoryShare = 0.1;

export interface SnapshotOptions {
  /** null: in shared memory, where there is any. */
  directory: string | null;
  /** 0: no snapshots; null: a safe share of what is free. */
  limitBytes: number | null;
}

/**
 * @returns null where snapshots are off or have no place
 * @throws Error when a directory that was asked for cannot be used
 */
export function openSnapshots({
  directory,
  limitBytes,
}: SnapshotOptions): { store: SnapshotStore; limitBytes: number } | null {
  const parent = directory ?? (existsSync(sharedMemory) ? sharedMemory : null);
  if (parent === null || limitBytes === 0) return null;
  try {
    mkdirSync(parent, { recursive: true });
    const limit = limitBytes ?? safeBytes(parent);
    return limit > 0 ? { store: new SnapshotStore(parent), limitBytes: limit } : null;
  } catch (error) {
    if (directory === null) return null;
    throw new Error(`snapshots cannot be kept in ${directory}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

/** Files in shared memory are memory, and a container may allow less of it than its file system claims. */
function safeBytes(parent: string): number {
  const { bavail, bsize } = statfsSync(parent);
  return Math.floor(Math.min(fileSystemShare * bavail * bsize, memoryShare * freemem()));
}
