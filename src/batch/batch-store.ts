import { mkdir, readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ServiceError } from '../errors.js';
import {
  type BatchObject,
  type BatchRecord,
  isFinal,
  type NewBatch,
  newBatchRecord,
} from './batch-record.js';
import { readJson, replaceFile } from './durable-file.js';
import { isBatchId, newBatchId } from './object-ids.js';

const mostBatches = 10_000;

/**
 * Batch jobs on disk, a directory each: `batch.json`, the journals and claims of whoever ran it, and an empty file
 * `cancel` once that is wished. Nothing is kept in memory but jobs that have ended, so several processes may share it.
 */
export class BatchStore {
  private readonly directory: string;
  private readonly ended = new Map<string, BatchRecord>();

  constructor(directory: string) {
    this.directory = directory;
  }

  directoryOf(id: string): string {
    return join(this.directory, id);
  }

  async create(tenant: string, servedModel: string, wanted: NewBatch): Promise<BatchObject> {
    const ids = await this.ids();
    if (ids.length >= mostBatches) await this.forgetOldest(ids);
    const record = newBatchRecord(newBatchId(), tenant, servedModel, wanted);
    await mkdir(this.directoryOf(record.batch.id), { recursive: true, mode: 0o700 });
    await this.write(record, true);
    return record.batch;
  }

  async write(record: BatchRecord, durable: boolean): Promise<void> {
    await replaceFile(this.recordPath(record.batch.id), JSON.stringify(record), durable);
  }

  async read(id: string): Promise<BatchRecord | null> {
    const known = this.ended.get(id);
    if (known || !isBatchId(id)) return known ?? null;
    const record = await readJson<BatchRecord>(this.recordPath(id));
    if (record && isFinal(record.batch.status)) this.ended.set(id, record);
    return record;
  }

  /** @throws ServiceError `not_found`, also for jobs of other tenants */
  async find(id: string, tenant: string): Promise<BatchObject> {
    const record = await this.read(id);
    if (record?.tenant === tenant) return this.view(record);
    throw new ServiceError('not_found', `No such Batch object: ${id.slice(0, 80)}`, { param: 'batch_id' });
  }

  /** In order of creation. */
  async list(tenant: string): Promise<BatchObject[]> {
    const batches: BatchObject[] = [];
    for (const id of await this.ids()) {
      const record = await this.read(id);
      if (record?.tenant === tenant) batches.push(await this.view(record));
    }
    return batches;
  }

  /** Ids of the jobs that have not ended, oldest first. */
  async unfinished(): Promise<string[]> {
    const ids: string[] = [];
    for (const id of await this.ids()) {
      const record = await this.read(id);
      if (record && !isFinal(record.batch.status)) ids.push(id);
    }
    return ids;
  }

  async wishCancel(id: string): Promise<void> {
    await replaceFile(this.cancelPath(id), '', true);
  }

  /** @returns Unix seconds, null if nobody wants it cancelled */
  async cancelWishedAt(id: string): Promise<number | null> {
    const facts = await stat(this.cancelPath(id)).catch(() => null);
    return facts && Math.floor(facts.mtimeMs / 1000);
  }

  /** A wish to cancel shows at once, whoever runs the job. */
  private async view({ batch }: BatchRecord): Promise<BatchObject> {
    if (isFinal(batch.status) || batch.status === 'finalizing') return batch;
    const cancellingAt = await this.cancelWishedAt(batch.id);
    return cancellingAt === null ? batch : { ...batch, status: 'cancelling', cancelling_at: cancellingAt };
  }

  private async ids(): Promise<string[]> {
    const names = await readdir(this.directory).catch(() => []);
    return names.filter(isBatchId).sort();
  }

  /** @throws ServiceError when none has ended */
  private async forgetOldest(ids: readonly string[]): Promise<void> {
    for (const id of ids) {
      const record = await this.read(id);
      if (record && !isFinal(record.batch.status)) continue;
      this.ended.delete(id);
      await rm(this.directoryOf(id), { recursive: true, force: true });
      return;
    }
    throw new ServiceError('queue_full', `${ids.length} batches are unfinished, the limit is ${mostBatches}`);
  }

  private recordPath(id: string): string {
    return join(this.directoryOf(id), 'batch.json');
  }

  private cancelPath(id: string): string {
    return join(this.directoryOf(id), 'cancel');
  }
}
