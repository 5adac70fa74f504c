import { mkdir, mkdtemp, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { CatalogModel } from './default-model.js';
import { hashFile } from './gguf-file.js';
import { firstLine, SourceRefusedError } from './model-errors.js';

/** Downloads happen in here; only whole, verified files are moved out of it. */
const workDirectoryName = '.partial';
const abandonedAfterMs = 24 * 3_600_000;

export type CacheLookup =
  | { state: 'present'; path: string }
  | { state: 'absent' }
  | { state: 'corrupt'; path: string; reason: string };

/** Looks for a model whose bytes are known; a file that differs is reported, never returned. */
export async function findInCache(directory: string, model: CatalogModel): Promise<CacheLookup> {
  const path = join(directory, model.fileName);
  const status = await stat(path).catch(() => null);
  if (status === null || !status.isFile()) return { state: 'absent' };
  if (status.size !== model.sizeBytes)
    return { state: 'corrupt', path, reason: `${status.size} bytes instead of ${model.sizeBytes}` };
  if ((await hashFile(path)) !== model.sha256) return { state: 'corrupt', path, reason: 'sha256 differs' };
  return { state: 'present', path };
}

/**
 * Runs a download in a private directory of the cache, which is gone afterwards. Two processes never share one, so
 * both may fetch the same model at the same time.
 * @throws SourceRefusedError when the cache cannot be written
 */
export async function withWorkDirectory<Result>(
  cacheDirectory: string,
  work: (directory: string) => Promise<Result>,
): Promise<Result> {
  const parent = join(cacheDirectory, workDirectoryName);
  let directory: string;
  try {
    await mkdir(parent, { recursive: true });
    await removeAbandoned(parent);
    directory = await mkdtemp(join(parent, `${process.pid}-`));
  } catch (error) {
    throw new SourceRefusedError(`cannot write to ${cacheDirectory}: ${firstLine(error)}`, error);
  }
  try {
    return await work(directory);
  } finally {
    await rm(directory, { recursive: true, force: true, maxRetries: 3 }).catch(() => {});
  }
}

/** A killed process leaves its work directory behind. */
async function removeAbandoned(parent: string): Promise<void> {
  for (const name of await readdir(parent)) {
    const path = join(parent, name);
    const status = await stat(path).catch(() => null);
    if (status !== null && Date.now() - status.mtimeMs > abandonedAfterMs)
      await rm(path, { recursive: true, force: true });
  }
}

/**
 * Moves finished files into the cache, each in one step. Put the file that others are found by last.
 * @returns the path of the last file
 */
export async function storeInCache(
  cacheDirectory: string,
  files: readonly { from: string; name: string }[],
): Promise<string> {
  let path = cacheDirectory;
  for (const file of files) {
    path = join(cacheDirectory, file.name);
    await rename(file.from, path);
  }
  return path;
}

/** @throws SourceRefusedError when a fetched file is not the model that was pinned */
export async function assertPinned(path: string, model: CatalogModel, signal?: AbortSignal): Promise<void> {
  const actual = await hashFile(path, signal);
  if (actual !== model.sha256)
    throw new SourceRefusedError(
      `the file has sha256 ${actual.slice(0, 12)}..., expected ${model.sha256.slice(0, 12)}...; thrown away`,
    );
}
