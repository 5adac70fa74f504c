import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { BatchInput, InputProblems } from './batch-input.js';
import type { BatchMetrics } from './batch-metrics.js';
import { type BatchRecord, isFinal, nowSeconds } from './batch-record.js';
import type { BatchStore } from './batch-store.js';
import type { Claim } from './claim.js';
import type { FileStore } from './file-store.js';
import { Journal } from './journal.js';
import type { LineAnswerer } from './line-answerer.js';
import type { LineGate } from './line-gate.js';
import { newLineId, resultFileIds } from './object-ids.js';
import { runLines } from './run-lines.js';

export interface JobSurroundings {
  batches: BatchStore;
  files: FileStore;
  answerer: LineAnswerer;
  gate: LineGate;
  metrics: BatchMetrics;
  limits: { maxLines: number; maxLineBytes: number };
}

type Ending = 'completed' | 'cancelled' | 'expired';

/** Between looks after expiry, wishes to cancel and progress. */
const lookMs = 250;

/**
 * One batch job, from wherever an earlier process left it to its end. Every change of status is on disk before what it
 * announces begins, and every step can be done again.
 */
export class BatchJob {
  private readonly surroundings: JobSurroundings;
  private readonly record: BatchRecord;
  private readonly claim: Claim;
  /** Aborts with the reason why no more lines are run. */
  private readonly stopLines = new AbortController();
  private journal: Journal | null = null;
  private input: BatchInput | null = null;
  private shuttingDown = false;

  constructor(surroundings: JobSurroundings, record: BatchRecord, claim: Claim) {
    this.surroundings = surroundings;
    this.record = record;
    this.claim = claim;
  }

  get linesLeft(): number {
    return this.input && this.journal ? this.input.lineCount - this.journal.answered : 0;
  }

  /** Ends `run` soon, without bringing the job to an end; another process, or a later one, goes on. */
  stop(): void {
    this.shuttingDown = true;
    this.stopLines.abort();
  }

  /** @throws Error when the disk refuses; what is on it is still right */
  async run(): Promise<void> {
    try {
      if (await this.openInput()) await this.runToEnd();
    } finally {
      await this.input?.close();
      await this.journal?.close();
    }
  }

  private async openInput(): Promise<boolean> {
    const { files, limits } = this.surroundings;
    const { batch } = this.record;
    const rules = { ...limits, endpoint: batch.endpoint, lenient: false };
    try {
      this.input = await BatchInput.open(files.contentPath(batch.input_file_id), rules);
      return true;
    } catch (error) {
      const problems = error instanceof InputProblems ? error.errors : missingFile(error);
      batch.errors = { object: 'list', data: problems };
      batch.failed_at = nowSeconds();
      await this.become('failed');
      return false;
    }
  }

  private async runToEnd(): Promise<void> {
    const { batch } = this.record;
    const input = this.input!;
    const directory = this.surroundings.batches.directoryOf(batch.id);
    this.journal = await Journal.open(directory, this.claim.number, input.lineCount);
    if (batch.status === 'validating') {
      batch.model = input.model;
      batch.in_progress_at = nowSeconds();
      batch.request_counts.total = input.lineCount;
      await this.become('in_progress');
    }
    const ending = await this.answerLines();
    if (ending === null || !(await this.claim.holds())) return;
    await this.finish(ending);
  }

  /** @returns null if the job is to be left as it is */
  private async answerLines(): Promise<Ending | null> {
    const { answerer, gate, metrics } = this.surroundings;
    const answered = new AbortController();
    const watching = this.watch(answered.signal);
    try {
      await runLines({
        ...{ input: this.input!, journal: this.journal!, answerer, gate, metrics },
        tenant: this.record.tenant,
        stop: this.stopLines.signal,
      });
    } finally {
      answered.abort();
      await watching;
    }
    if (this.linesLeft === 0) return 'completed';
    if (this.shuttingDown) return null;
    return this.stopLines.signal.reason as Ending;
  }

  /** Looks after expiry and wishes to cancel, and lets clients see progress. */
  private async watch(ended: AbortSignal): Promise<void> {
    while (!ended.aborted) {
      // What cannot be noted now is noted by the next look, or at the end.
      await this.look().catch(() => {});
      await sleep(lookMs, undefined, { signal: ended }).catch(() => {});
    }
  }

  private async look(): Promise<void> {
    const { id, expires_at, request_counts } = this.record.batch;
    if (nowSeconds() >= expires_at) this.stopLines.abort('expired');
    if ((await this.surroundings.batches.cancelWishedAt(id)) !== null) this.stopLines.abort('cancelled');
    if (this.journal!.answered !== request_counts.completed + request_counts.failed)
      await this.noteProgress();
  }

  private async noteProgress(): Promise<void> {
    this.count();
    await this.surroundings.batches.write(this.record, false);
  }

  private count(): void {
    const { completed, failed } = this.journal!;
    Object.assign(this.record.batch.request_counts, { completed, failed });
  }

  private async finish(ending: Ending): Promise<void> {
    const { batch } = this.record;
    await this.journal!.sync();
    this.count();
    batch.finalizing_at ??= nowSeconds();
    if (ending === 'cancelled') {
      batch.cancelling_at = await this.surroundings.batches.cancelWishedAt(batch.id);
      await this.become('cancelling');
    } else {
      await this.become('finalizing');
    }
    await this.writeResults(ending);
    batch.usage = usageOf(this.journal!);
    batch[`${ending}_at`] = nowSeconds();
    await this.become(ending);
    await this.tidy();
  }

  private async writeResults(ending: Ending): Promise<void> {
    const { batch } = this.record;
    const journal = this.journal!;
    const ids = resultFileIds(batch.id);
    if (journal.completed > 0) {
      await this.writeResult(ids.output, 'output', journal.outputs('completed'));
      batch.output_file_id = ids.output;
    }
    if (journal.failed > 0 || this.linesLeft > 0) {
      await this.writeResult(ids.errors, 'errors', this.errorLines(ending));
      batch.error_file_id = ids.errors;
    }
  }

  private async writeResult(id: string, kind: string, lines: AsyncIterable<string>): Promise<void> {
    const details = {
      tenant: this.record.tenant,
      filename: `${this.record.batch.id}_${kind}.jsonl`,
      expiresAfterSeconds: this.record.outputExpiresAfterSeconds,
    };
    await this.surroundings.files.produce(id, details, async (part) => {
      for await (const line of lines) await part.appendFile(`${line}\n`);
    });
  }

  /** Refusals, then what was never run. */
  private async *errorLines(ending: Ending): AsyncGenerator<string> {
    yield* this.journal!.outputs('failed');
    if (this.linesLeft === 0) return;
    const error = {
      code: `batch_${ending}`,
      message:
        ending === 'expired'
          ? 'This request could not be executed before the completion window expired.'
          : 'This request was not executed because the batch was cancelled.',
    };
    for (let line = 0; line < this.input!.lineCount; line += 1) {
      if (this.journal!.has(line)) continue;
      const { customId } = await this.input!.read(line);
      yield JSON.stringify({ id: newLineId(), custom_id: customId, response: null, error });
    }
  }

  private async become(status: BatchRecord['batch']['status']): Promise<void> {
    this.record.batch.status = status;
    await this.surroundings.batches.write(this.record, true);
    if (isFinal(status)) this.surroundings.metrics.jobEnded(status);
  }

  /** The journals have become files. */
  private async tidy(): Promise<void> {
    const directory = this.surroundings.batches.directoryOf(this.record.batch.id);
    for (let number = 1; number <= this.claim.number; number += 1)
      await rm(join(directory, `journal-${number}.jsonl`), { force: true });
  }
}

function missingFile(error: unknown) {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  return [{ code: 'file_not_found', line: null, message: 'The input file is gone.', param: 'input_file_id' }];
}

function usageOf({ promptTokens, cachedTokens, completionTokens }: Journal) {
  return {
    input_tokens: promptTokens,
    input_tokens_details: { cached_tokens: cachedTokens },
    output_tokens: completionTokens,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: promptTokens + completionTokens,
  };
}
