import { join } from 'node:path';
import type { Registry } from 'prom-client';
import type { ServingCore } from '../serving/serving-core.js';
import { BatchJob, type JobSurroundings } from './batch-job.js';
import { BatchMetrics } from './batch-metrics.js';
import { BatchStore } from './batch-store.js';
import { Claim } from './claim.js';
import { CoreAnswerer } from './core-answerer.js';
import { FileStore } from './file-store.js';
import { LineGate } from './line-gate.js';

/** `ServeConfig` satisfies it. */
export interface BatchConfig {
  dataDirectory: string;
  maxDataBytes: number;
  maxBatchFileBytes: number;
  maxBatchLines: number;
  batchLinesInFlight: number | null;
  maxBodyBytes: number;
  maxWaiting: number;
}

export interface BatchKeeperOptions {
  config: BatchConfig;
  core: ServingCore;
  /** Slots that work on lines, in this process and wherever it hands them. */
  slotCount: () => number;
  registry: Registry;
  /** Faults that no client can be told about; the job is tried again. */
  onFault: (message: string, error: unknown) => void;
}

const scanMs = 2_000;
const retryMs = 10_000;
const sweepMs = 600_000;
const mostJobsAtOnce = 8;

/**
 * A waiting line must be there when a slot gets free, else the slot is empty. Many end in the same tick, and for each
 * it takes two or three ticks to write its answer and read the next line.
 */
export const defaultLinesInFlight = (slotCount: number) => Math.max(1, 2 * slotCount);

/**
 * Runs the unfinished jobs of a data directory, several at a time, and goes on with what an earlier process left.
 * Processes that share the directory share its jobs: each job is run by one, taken over by another if that one dies.
 */
export class BatchKeeper {
  readonly files: FileStore;
  readonly batches: BatchStore;
  readonly core: ServingCore;
  private readonly surroundings: JobSurroundings;
  private readonly onFault: BatchKeeperOptions['onFault'];
  private readonly running = new Map<string, { job: BatchJob; done: Promise<void> }>();
  private readonly notBefore = new Map<string, number>();
  private readonly timers: NodeJS.Timeout[] = [];
  private scanning: Promise<void> | null = null;
  private closed = false;

  constructor({ config, core, slotCount, registry, onFault }: BatchKeeperOptions) {
    const { dataDirectory, maxBatchFileBytes, maxDataBytes, maxBatchLines, maxBodyBytes } = config;
    this.core = core;
    this.onFault = onFault;
    const limits = { fileBytes: maxBatchFileBytes, totalBytes: maxDataBytes };
    this.files = new FileStore(join(dataDirectory, 'files'), limits);
    this.batches = new BatchStore(join(dataDirectory, 'batches'));
    const gate = new LineGate(() => config.batchLinesInFlight ?? defaultLinesInFlight(slotCount()));
    this.surroundings = {
      batches: this.batches,
      files: this.files,
      answerer: new CoreAnswerer({ core, config }),
      gate,
      metrics: new BatchMetrics(registry, () => this.stats(gate)),
      limits: { maxLines: maxBatchLines, maxLineBytes: maxBodyBytes },
    };
  }

  /** Call when the core is ready. */
  start(): void {
    this.timers.push(setInterval(() => this.scan(), scanMs).unref());
    this.timers.push(setInterval(() => this.sweep(), sweepMs).unref());
    this.sweep();
    this.scan();
  }

  /** Looks for jobs to run, now. */
  scan(): void {
    if (this.closed || this.scanning || this.core.state !== 'ready') return;
    this.scanning = this.claimJobs()
      .catch((error) => this.onFault('looking for batch jobs failed', error))
      .finally(() => {
        this.scanning = null;
      });
  }

  /** Leaves every job as it is, for whoever comes next. */
  async close(): Promise<void> {
    this.closed = true;
    for (const timer of this.timers) clearInterval(timer);
    await this.scanning;
    for (const { job } of this.running.values()) job.stop();
    await Promise.all([...this.running.values()].map(({ done }) => done));
  }

  private async claimJobs(): Promise<void> {
    for (const id of await this.batches.unfinished()) {
      if (this.running.size >= mostJobsAtOnce || this.closed) return;
      if (this.running.has(id) || (this.notBefore.get(id) ?? 0) > performance.now()) continue;
      await this.claimJob(id);
    }
  }

  private async claimJob(id: string): Promise<void> {
    const before = await this.batches.read(id);
    if (before?.servedModel !== this.core.model.id) return;
    const claim = await Claim.take(this.batches.directoryOf(id));
    if (claim === null) return;
    // Read again: whoever had it may have ended it meanwhile.
    const record = await this.batches.read(id);
    if (record === null) return claim.release();
    const job = new BatchJob(this.surroundings, record, claim);
    this.running.set(id, { job, done: this.run(id, job, claim) });
  }

  private async run(id: string, job: BatchJob, claim: Claim): Promise<void> {
    try {
      await job.run();
    } catch (error) {
      this.notBefore.set(id, performance.now() + retryMs);
      this.onFault(`batch job ${id} stopped and will be tried again`, error);
    }
    await claim.release().catch((error) => this.onFault(`the claim on ${id} stays`, error));
    this.running.delete(id);
    this.scan();
  }

  private sweep(): void {
    this.files.sweep().catch((error) => this.onFault('sweeping files failed', error));
  }

  private stats(gate: LineGate) {
    const linesLeft = [...this.running.values()].reduce((sum, { job }) => sum + job.linesLeft, 0);
    return { running: this.running.size, linesInFlight: gate.inFlight, linesLeft };
  }
}
