import { randomBytes } from 'node:crypto';
import { open, readFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/**
 * Replaces a file as a whole: whoever reads sees the old text or the new one, whenever the process is killed.
 * @param durable also after a power cut, at the price of waiting for the disk
 */
export async function replaceFile(path: string, text: string, durable: boolean): Promise<void> {
  await writeWhole(path, durable, (part) => part.writeFile(text));
}

/** The same for content that is written piece by piece. Always durable. */
export async function writeWhole(
  path: string,
  durable: boolean,
  write: (part: import('node:fs/promises').FileHandle) => Promise<void>,
): Promise<void> {
  const partPath = `${path}.${randomBytes(6).toString('hex')}${partSuffix}`;
  const part = await open(partPath, 'wx', 0o600);
  try {
    await write(part);
    if (durable) await part.datasync();
    await part.close();
    await rename(partPath, path);
    if (durable) await syncDirectory(dirname(path));
  } catch (error) {
    await part.close().catch(() => {});
    await rm(partPath, { force: true });
    throw error;
  }
}

/** How unfinished files end; a crash leaves them behind. */
export const partSuffix = '.part';

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r');
  // Some file systems know no sync of directories; the rename has happened all the same.
  await directory.sync().catch(() => {});
  await directory.close();
}

/** @returns null if there is no such file */
export async function readJson<Value>(path: string): Promise<Value | null> {
  try {
    return JSON.parse(await readFile(path, 'utf8')) as Value;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    throw error;
  }
}
