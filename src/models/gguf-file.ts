import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, stat } from 'node:fs/promises';
import { pipeline } from 'node:stream/promises';
import { ModelNotFoundError } from './model-errors.js';

/**
 * Cheap checks on a file the user named, so that the native loader never sees something that is no model.
 * @returns its size in bytes
 * @throws ModelNotFoundError
 */
export async function assertGgufFile(path: string): Promise<number> {
  let sizeBytes: number;
  try {
    const status = await stat(path);
    if (status.isDirectory())
      throw new ModelNotFoundError(`${path} is a directory; name the .gguf file inside it`);
    sizeBytes = status.size;
  } catch (error) {
    if (error instanceof ModelNotFoundError) throw error;
    throw new ModelNotFoundError(unreadable(path, error), error);
  }
  const magic = await readMagic(path);
  if (magic === 'GGUF') return sizeBytes;
  const hint = magic.startsWith('PK') ? ' (it is a zip archive)' : '';
  throw new ModelNotFoundError(`${path} is not a GGUF model file${hint}; it does not start with "GGUF"`);
}

function unreadable(path: string, error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOENT' || code === 'ENOTDIR') return `${path} does not exist`;
  if (code === 'EACCES' || code === 'EPERM') return `${path} may not be read by this user`;
  return `${path} cannot be read (${code ?? error})`;
}

async function readMagic(path: string): Promise<string> {
  try {
    const file = await open(path, 'r');
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(4), 0, 4, 0);
      return buffer.subarray(0, bytesRead).toString('latin1');
    } finally {
      await file.close();
    }
  } catch (error) {
    throw new ModelNotFoundError(unreadable(path, error), error);
  }
}

/** SHA-256 of a file in lower case hex; about 0.1 s per 100 MB. */
export async function hashFile(path: string, signal?: AbortSignal): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash, { signal });
  return hash.digest('hex');
}
