import { type FileHandle, open, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { readLines } from './line-reader.js';

/** `[prompt, cached, completion]` tokens. */
export type TokenCounts = readonly [promptTokens: number, cachedTokens: number, completionTokens: number];

export interface JournalEntry {
  /** Counted from 0. */
  line: number;
  failed: boolean;
  tokens: TokenCounts;
  /** The line of the output or error file. */
  output: object;
}

const syncMs = 1_000;
const mostEntryBytes = 256 * 1024 * 1024;

/**
 * The answers of one job so far, in append-only files: one per claim, so that each has one writer. An answer counts
 * when its line is in a file as a whole: written as soon as the write before it has ended, which survives the death of
 * the process, and synced to disk at most a second later, which bounds what a power cut costs. A torn line is no answer.
 * The first answer to a line is the answer; later ones are never read.
 */
export class Journal {
  completed = 0;
  failed = 0;
  promptTokens = 0;
  cachedTokens = 0;
  completionTokens = 0;
  private readonly files: FileHandle[];
  private readonly fileOf: Uint16Array;
  private readonly offsets: Float64Array;
  private readonly lengths: Uint32Array;
  private readonly failures: Uint8Array;
  private readonly writer: FileHandle;
  private writtenBytes = 0;
  private syncedAtMs = performance.now();
  private last: Promise<void> = Promise.resolve();
  /** For the next write, which waits for the one under way. */
  private gathered: JournalEntry[] = [];
  private nextWrite: Promise<void> | null = null;

  private constructor(files: FileHandle[], writer: FileHandle, lineCount: number) {
    this.files = [...files, writer];
    this.writer = writer;
    this.fileOf = new Uint16Array(lineCount);
    this.offsets = new Float64Array(lineCount);
    this.lengths = new Uint32Array(lineCount);
    this.failures = new Uint8Array(lineCount);
  }

  /** @param claimNumber of the claim on the directory that the caller holds */
  static async open(directory: string, claimNumber: number, lineCount: number): Promise<Journal> {
    const numbers = (await readdir(directory))
      .map((name) => /^journal-(\d+)\.jsonl$/.exec(name)?.[1])
      .filter((number) => number !== undefined)
      .map(Number)
      .sort((a, b) => a - b);
    const path = (number: number) => join(directory, `journal-${number}.jsonl`);
    const files: FileHandle[] = [];
    for (const number of numbers) files.push(await open(path(number), 'r'));
    const journal = new Journal(files, await open(path(claimNumber), 'ax+', 0o600), lineCount);
    for (const [index, number] of numbers.entries()) await journal.load(path(number), index);
    return journal;
  }

  get answered(): number {
    return this.completed + this.failed;
  }

  has(line: number): boolean {
    return this.lengths[line]! > 0;
  }

  /**
   * Resolves when the answer survives the death of this process. Answers to answered lines are dropped.
   * Answers that come during a write are written together: libuv's pool may have one thread, where each write waits
   * for a decode call.
   */
  append(entry: JournalEntry): Promise<void> {
    this.gathered.push(entry);
    if (this.nextWrite === null) {
      this.nextWrite = this.last.then(() => this.writeGathered());
      this.last = this.nextWrite;
    }
    return this.nextWrite;
  }

  /** Resolves when all answers survive a power cut. */
  async sync(): Promise<void> {
    await this.last;
    await this.writer.datasync();
  }

  /** Outputs in order of their lines. */
  async *outputs(which: 'all' | 'completed' | 'failed'): AsyncGenerator<string> {
    for (let line = 0; line < this.lengths.length; line += 1) {
      const outcome = this.failures[line] === 1 ? 'failed' : 'completed';
      if (!this.has(line) || (which !== 'all' && which !== outcome)) continue;
      yield JSON.stringify((await this.read(line)).output);
    }
  }

  async read(line: number): Promise<JournalEntry> {
    const bytes = Buffer.alloc(this.lengths[line]!);
    await this.files[this.fileOf[line]!]!.read(bytes, 0, bytes.length, this.offsets[line]!);
    return JSON.parse(bytes.toString('utf8')) as JournalEntry;
  }

  async close(): Promise<void> {
    await this.last.catch(() => {});
    for (const file of this.files) await file.close();
  }

  private async writeGathered(): Promise<void> {
    const fresh = new Map<number, JournalEntry>();
    for (const entry of this.gathered) {
      if (!this.has(entry.line) && !fresh.has(entry.line)) fresh.set(entry.line, entry);
    }
    this.gathered = [];
    this.nextWrite = null;
    const entries = [...fresh.values()];
    if (entries.length === 0) return;
    const lines = entries.map((entry) => Buffer.from(`${JSON.stringify(entry)}\n`));
    // After a failed write nothing more is added: `last` stays rejected.
    await this.writer.appendFile(Buffer.concat(lines));
    for (const [index, entry] of entries.entries()) {
      const { length } = lines[index]!;
      this.note(entry, this.files.length - 1, this.writtenBytes, length - 1);
      this.writtenBytes += length;
    }
    if (performance.now() - this.syncedAtMs < syncMs) return;
    this.syncedAtMs = performance.now();
    await this.writer.datasync();
  }

  private async load(path: string, file: number): Promise<void> {
    for await (const { offset, bytes } of readLines(path, mostEntryBytes)) {
      const entry = bytes === null ? null : parseEntry(bytes);
      if (entry === null || entry.line >= this.lengths.length || this.has(entry.line)) continue;
      this.note(entry, file, offset, bytes!.length);
    }
  }

  private note({ line, failed, tokens }: JournalEntry, file: number, offset: number, length: number): void {
    this.fileOf[line] = file;
    this.offsets[line] = offset;
    this.lengths[line] = length;
    this.failures[line] = failed ? 1 : 0;
    if (failed) this.failed += 1;
    else this.completed += 1;
    const [promptTokens, cachedTokens, completionTokens] = tokens;
    this.promptTokens += promptTokens;
    this.cachedTokens += cachedTokens;
    this.completionTokens += completionTokens;
  }
}

/** @returns null for a line that a crash tore */
function parseEntry(bytes: Buffer): JournalEntry | null {
  try {
    return JSON.parse(bytes.toString('utf8')) as JournalEntry;
  } catch {
    return null;
  }
}
