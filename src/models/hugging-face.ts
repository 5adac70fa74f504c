import { readdir, stat, truncate } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { assertGgufFile } from './gguf-file.js';
import { causeOf, firstLine, SourceRefusedError } from './model-errors.js';
import type { OnProgress } from './progress.js';
import { StallGuard } from './stall-guard.js';

export interface HuggingFaceSource {
  /** null: `HF_ENDPOINT`, `MODEL_ENDPOINT` or https://huggingface.co/. */
  endpoint: string | null;
  /** Milliseconds the hub gets to answer a HEAD request before anything is handed over. */
  probeMs: number;
  /** Milliseconds until the first byte of the file. */
  firstByteMs: number;
  /** Milliseconds without a new byte after which a download is given up. */
  stallMs: number;
}

export const defaultHuggingFaceSource: HuggingFaceSource = {
  endpoint: null,
  probeMs: 3_000,
  firstByteMs: 15_000,
  stallMs: 60_000,
};

export interface DownloadedFiles {
  /** All parts of a split model, or the one file. */
  paths: string[];
  entryPath: string;
}

/**
 * Fetches `hf:...` into a directory through node-llama-cpp's resolver.
 * @throws SourceRefusedError within seconds when the hub cannot be reached
 */
export async function downloadFromHuggingFace(
  uri: string,
  directory: string,
  source: HuggingFaceSource,
  onProgress: OnProgress,
  signal?: AbortSignal,
): Promise<DownloadedFiles> {
  await probe(source, signal);
  const { resolveModelFile } = await import('node-llama-cpp');
  const guard = new StallGuard(source.firstByteMs, source.stallMs, signal);
  let announcedBytes = 0;
  try {
    const download = resolveModelFile(uri, {
      directory,
      cli: false,
      signal: guard.signal,
      ...endpointOption(source),
      onProgress: ({ downloadedSize, totalSize }) => {
        guard.sawBytes(downloadedSize);
        announcedBytes = totalSize;
        onProgress({ downloadedBytes: downloadedSize, totalBytes: totalSize > 0 ? totalSize : null });
      },
    });
    // The resolver does not watch its signal while it asks for the file's headers.
    const entryPath = await guard.race(download);
    await assertGgufFile(entryPath);
    const paths = await finishedFiles(directory, entryPath);
    if (announcedBytes > 0) await settleSize(paths, announcedBytes);
    return { entryPath, paths };
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    throw new SourceRefusedError(firstLine(guard.reason ?? error), error);
  } finally {
    guard.stop();
  }
}

/**
 * The downloader keeps its progress behind the file's end and cuts it off when it is done; a last note of progress
 * that is still on its way then stays there. What lies beyond the announced size of one file is cut again.
 * @throws SourceRefusedError when bytes are missing, or when it cannot be known which of several files is too long
 */
export async function settleSize(paths: readonly string[], announcedBytes: number): Promise<void> {
  const sizes = await Promise.all(paths.map(async (path) => (await stat(path)).size));
  const actualBytes = sizes.reduce((sum, size) => sum + size, 0);
  if (actualBytes === announcedBytes) return;
  if (paths.length === 1 && actualBytes > announcedBytes) return await truncate(paths[0]!, announcedBytes);
  throw new SourceRefusedError(`${actualBytes} bytes arrived instead of ${announcedBytes}; fetch it again`);
}

async function finishedFiles(directory: string, entryPath: string): Promise<string[]> {
  const names = await readdir(directory);
  const paths = names.filter((name) => name.endsWith('.gguf')).map((name) => join(directory, name));
  return paths.some((path) => basename(path) === basename(entryPath)) ? paths : [...paths, entryPath];
}

/** The path of an `hf:` model that was fetched before, or null. Uses no network. */
export async function findHuggingFaceFile(
  uri: string,
  cacheDirectory: string,
  source: HuggingFaceSource,
): Promise<string | null> {
  const { resolveModelFile } = await import('node-llama-cpp');
  try {
    return await resolveModelFile(uri, {
      directory: cacheDirectory,
      download: false,
      cli: false,
      ...endpointOption(source),
    });
  } catch {
    return null;
  }
}

function endpointOption(source: HuggingFaceSource): { endpoints?: { huggingFace: string } } {
  return source.endpoint === null ? {} : { endpoints: { huggingFace: source.endpoint } };
}

/** The downloader's own retries take minutes when there is no network; this takes `probeMs`. */
async function probe(source: HuggingFaceSource, signal?: AbortSignal): Promise<void> {
  const environment = process.env.MODEL_ENDPOINT || process.env.HF_ENDPOINT;
  const url = new URL(source.endpoint ?? environment ?? 'https://huggingface.co/');
  const timeout = AbortSignal.timeout(source.probeMs);
  try {
    const response = await fetch(url, {
      method: 'HEAD',
      redirect: 'manual',
      signal: signal === undefined ? timeout : AbortSignal.any([timeout, signal]),
    });
    if (response.status >= 500) throw new SourceRefusedError(`${url.host} answers ${response.status}`);
  } catch (error) {
    if (signal?.aborted) throw signal.reason;
    if (error instanceof SourceRefusedError) throw error;
    const why = timeout.aborted ? `no answer within ${source.probeMs / 1000} s` : causeOf(error);
    throw new SourceRefusedError(`${url.host} cannot be reached (${why})`, error);
  }
}
