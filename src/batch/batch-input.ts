import { type FileHandle, open } from 'node:fs/promises';
import {
  type BatchError,
  type BatchLine,
  LineProblem,
  type LineRules,
  parseBatchLine,
} from './batch-line.js';
import { readLines } from './line-reader.js';
import { PrefixOrder } from './prefix-order.js';

export interface InputRules extends LineRules {
  maxLines: number;
  maxLineBytes: number;
}

const mostErrors = 100;

/** Everything wrong with an input file, each problem with its line; at most a hundred. */
export class InputProblems extends Error {
  readonly errors: readonly BatchError[];

  constructor(errors: readonly BatchError[]) {
    super(
      errors.map(({ line, message }) => (line === null ? message : `line ${line}: ${message}`)).join('\n'),
    );
    this.name = 'InputProblems';
    this.errors = errors;
  }
}

/** A checked input file. Lines are counted from 0 here; only where they lie is in memory. */
export class BatchInput {
  readonly lineCount: number;
  /** In which order to run the lines. */
  readonly order: Uint32Array;
  /** The model that the first line asks for; null if it asks for none. */
  readonly model: string | null;
  private readonly file: FileHandle;
  private readonly places: Places;
  private readonly rules: InputRules;

  private constructor(file: FileHandle, places: Places, checked: Checker, rules: InputRules) {
    this.file = file;
    this.places = places;
    this.rules = rules;
    this.lineCount = places.offsets.length;
    this.order = checked.order.lines();
    this.model = checked.model;
  }

  /** Reads the file line by line. @throws InputProblems */
  static async open(path: string, rules: InputRules): Promise<BatchInput> {
    const checker = new Checker(rules);
    for await (const { number, offset, bytes } of readLines(path, rules.maxLineBytes)) {
      if (!checker.take(number, offset, bytes)) break;
    }
    const places = checker.finish();
    return new BatchInput(await open(path, 'r'), places, checker, rules);
  }

  async read(line: number): Promise<BatchLine> {
    const bytes = Buffer.alloc(this.places.lengths[line]!);
    const { bytesRead } = await this.file.read(bytes, 0, bytes.length, this.places.offsets[line]!);
    if (bytesRead < bytes.length) throw new Error(`the input file was cut while it was used`);
    return parseBatchLine(bytes, this.places.numbers[line]!, this.rules);
  }

  close(): Promise<void> {
    return this.file.close();
  }
}

interface Places {
  numbers: number[];
  offsets: number[];
  lengths: number[];
}

class Checker {
  readonly order = new PrefixOrder();
  model: string | null = null;
  private readonly rules: InputRules;
  private readonly errors: BatchError[] = [];
  private readonly places: Places = { numbers: [], offsets: [], lengths: [] };
  private readonly linesById = new Map<string, number>();

  constructor(rules: InputRules) {
    this.rules = rules;
  }

  /** @returns whether it is worth going on */
  take(number: number, offset: number, bytes: Buffer | null): boolean {
    const { numbers, offsets, lengths } = this.places;
    if (numbers.length >= this.rules.maxLines) {
      this.report('too_many_lines', number, `A batch may have at most ${this.rules.maxLines} requests.`);
      return false;
    }
    numbers.push(number);
    offsets.push(offset);
    lengths.push(bytes?.length ?? 0);
    try {
      this.check(number, bytes);
    } catch (error) {
      if (!(error instanceof LineProblem)) throw error;
      this.report(error.code, number, error.message, error.param);
    }
    return this.errors.length < mostErrors;
  }

  /** @throws InputProblems */
  finish(): Places {
    if (this.places.offsets.length === 0) this.report('empty_file', null, 'The input file has no requests.');
    if (this.errors.length > 0) throw new InputProblems(this.errors);
    return this.places;
  }

  private check(number: number, bytes: Buffer | null): void {
    if (bytes === null)
      throw new LineProblem(
        'line_too_long',
        null,
        `A line may have at most ${this.rules.maxLineBytes} bytes.`,
      );
    const line = parseBatchLine(bytes, number, this.rules);
    const earlier = this.linesById.get(line.customId);
    if (earlier !== undefined)
      throw new LineProblem(
        'duplicate_custom_id',
        'custom_id',
        `custom_id ${JSON.stringify(line.customId.slice(0, 80))} is the one of line ${earlier}; it must be unique in the batch.`,
      );
    this.linesById.set(line.customId, number);
    this.order.add(line.body);
    if (this.linesById.size === 1 && typeof line.body.model === 'string') this.model = line.body.model;
  }

  private report(code: string, line: number | null, message: string, param: string | null = null): void {
    this.errors.push({ code, line, message, param });
  }
}
