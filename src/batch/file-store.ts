import { createReadStream, type ReadStream } from 'node:fs';
import { type FileHandle, mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { ServiceError } from '../errors.js';
import { partSuffix, readJson, replaceFile, writeWhole } from './durable-file.js';
import { isFileId, newFileId } from './object-ids.js';

/** OpenAI's `FileObject`. */
export interface FileObject {
  id: string;
  object: 'file';
  bytes: number;
  created_at: number;
  expires_at?: number;
  filename: string;
  purpose: 'batch' | 'batch_output';
  status: 'processed';
}

/** What is kept beside the content. */
interface FileRecord {
  tenant: string;
  file: FileObject;
}

export interface NewFile {
  tenant: string;
  filename: string;
  /** Seconds after creation; null: kept until it is deleted. */
  expiresAfterSeconds: number | null;
}

/** An upload on disk that is no file yet. */
export interface ReceivedContent {
  id: string;
  bytes: number;
}

export interface FileStoreLimits {
  /** Largest upload. */
  fileBytes: number;
  /** All kept files together. */
  totalBytes: number;
}

const mostFiles = 10_000;
const abandonedMs = 3_600_000;

/**
 * Files on disk: content in `ID.jsonl`, description in `ID.json`. The description is written last, so a file that is
 * described is whole. Several processes may share the directory.
 */
export class FileStore {
  private readonly directory: string;
  private readonly limits: FileStoreLimits;
  /** Descriptions never change. */
  private readonly known = new Map<string, FileRecord>();

  constructor(directory: string, limits: FileStoreLimits) {
    this.directory = directory;
    this.limits = limits;
  }

  contentPath(id: string): string {
    return join(this.directory, `${id}.jsonl`);
  }

  /**
   * Streams an upload to disk. It is a file only when it is kept.
   * @throws ServiceError `request_too_large` past a limit; nothing stays then
   */
  async receive(content: Readable): Promise<ReceivedContent> {
    await mkdir(this.directory, { recursive: true });
    const usedBytes = await this.requireRoom();
    const id = newFileId();
    let bytes = 0;
    await writeWhole(this.contentPath(id), true, async (part) => {
      for await (const chunk of content as AsyncIterable<Buffer>) {
        bytes += chunk.length;
        this.requireFit(bytes, usedBytes);
        await part.write(chunk);
      }
    });
    return { id, bytes };
  }

  keep({ id, bytes }: ReceivedContent, details: NewFile): Promise<FileObject> {
    return this.describe(id, 'batch', bytes, details);
  }

  /** Writes a file of our own making under an id chosen before; whatever an earlier try left is replaced. */
  async produce(
    id: string,
    details: NewFile,
    write: (part: FileHandle) => Promise<void>,
  ): Promise<FileObject> {
    await mkdir(this.directory, { recursive: true });
    await writeWhole(this.contentPath(id), true, write);
    const { size } = await stat(this.contentPath(id));
    return this.describe(id, 'batch_output', size, details);
  }

  /** @throws ServiceError `not_found`, also for files of other tenants */
  async find(id: string, tenant: string): Promise<FileObject> {
    const record = await this.read(id);
    if (record?.tenant === tenant) return record.file;
    throw new ServiceError('not_found', `No such File object: ${id.slice(0, 80)}`, { param: 'file_id' });
  }

  /** In order of creation. */
  async list(tenant: string): Promise<FileObject[]> {
    const records = await this.readAll();
    return records.filter((record) => record.tenant === tenant).map(({ file }) => file);
  }

  open(id: string): ReadStream {
    return createReadStream(this.contentPath(id));
  }

  /** Also content that was received and not kept. */
  async delete(id: string): Promise<void> {
    this.known.delete(id);
    await rm(join(this.directory, `${id}.json`), { force: true });
    await rm(this.contentPath(id), { force: true });
  }

  /** Removes what has expired and what crashes left behind. */
  async sweep(): Promise<void> {
    await this.readAll();
    for (const name of await this.names()) {
      if (!name.endsWith(partSuffix)) continue;
      const path = join(this.directory, name);
      const facts = await stat(path).catch(() => null);
      if (facts && Date.now() - facts.mtimeMs > abandonedMs) await rm(path, { force: true });
    }
  }

  private async describe(
    id: string,
    purpose: FileObject['purpose'],
    bytes: number,
    { tenant, filename, expiresAfterSeconds }: NewFile,
  ): Promise<FileObject> {
    const createdAt = Math.floor(Date.now() / 1000);
    const expiry = expiresAfterSeconds === null ? {} : { expires_at: createdAt + expiresAfterSeconds };
    const file: FileObject = {
      ...{ id, object: 'file', bytes, created_at: createdAt, ...expiry },
      ...{ filename, purpose, status: 'processed' },
    };
    await replaceFile(join(this.directory, `${id}.json`), JSON.stringify({ tenant, file }), true);
    return file;
  }

  private async names(): Promise<string[]> {
    return readdir(this.directory).catch(() => []);
  }

  private async readAll(): Promise<FileRecord[]> {
    const ids = (await this.names())
      .filter((name) => name.endsWith('.json'))
      .map((name) => name.slice(0, -5));
    const here = new Set(ids);
    for (const id of this.known.keys()) if (!here.has(id)) this.known.delete(id);
    const records: FileRecord[] = [];
    for (const id of ids.sort()) {
      const record = this.known.get(id) ?? (await this.read(id));
      if (record && !(await this.dropExpired(record))) records.push(record);
    }
    return records;
  }

  private async read(id: string): Promise<FileRecord | null> {
    if (!isFileId(id)) return null;
    const record = await readJson<FileRecord>(join(this.directory, `${id}.json`));
    if (record === null || (await this.dropExpired(record))) return null;
    this.known.set(id, record);
    return record;
  }

  private async dropExpired({ file }: FileRecord): Promise<boolean> {
    if (file.expires_at === undefined || file.expires_at > Date.now() / 1000) return false;
    await this.delete(file.id);
    return true;
  }

  /** @returns the bytes of all kept files */
  private async requireRoom(): Promise<number> {
    const records = await this.readAll();
    if (records.length >= mostFiles)
      throw tooLarge(`${records.length} files are kept, the limit is ${mostFiles}; delete some first`);
    return records.reduce((sum, { file }) => sum + file.bytes, 0);
  }

  private requireFit(bytes: number, usedBytes: number): void {
    const { fileBytes, totalBytes } = this.limits;
    if (bytes > fileBytes) throw tooLarge(`file must be at most ${fileBytes} bytes`);
    if (usedBytes + bytes <= totalBytes) return;
    throw tooLarge(
      `file does not fit: kept files have ${usedBytes} bytes, the limit is ${totalBytes}; delete some first`,
    );
  }
}

function tooLarge(message: string): ServiceError {
  return new ServiceError('request_too_large', message, { param: 'file' });
}
