import { createReadStream } from 'node:fs';

export interface RawLine {
  /** Counted from 1, blank lines included. */
  number: number;
  /** Where its first byte lies in the file. */
  offset: number;
  /** Without the line end; null if it is longer than the limit. */
  bytes: Buffer | null;
}

const newline = 10;

/** The lines of a file one by one, with at most a chunk and a line in memory. Blank lines are left out. */
export async function* readLines(path: string, maxLineBytes: number): AsyncGenerator<RawLine> {
  const cutter = new LineCutter(maxLineBytes);
  for await (const chunk of createReadStream(path) as AsyncIterable<Buffer>) yield* cutter.cut(chunk);
  yield* cutter.end();
}

class LineCutter {
  private readonly maxLineBytes: number;
  private pieces: Buffer[] = [];
  private heldBytes = 0;
  private number = 1;
  private offset = 0;

  constructor(maxLineBytes: number) {
    this.maxLineBytes = maxLineBytes;
  }

  *cut(chunk: Buffer): Generator<RawLine> {
    let start = 0;
    for (let end = chunk.indexOf(newline); end !== -1; end = chunk.indexOf(newline, start)) {
      this.hold(chunk.subarray(start, end));
      yield* this.finish(1);
      start = end + 1;
    }
    this.hold(chunk.subarray(start));
  }

  *end(): Generator<RawLine> {
    yield* this.finish(0);
  }

  private hold(piece: Buffer): void {
    this.heldBytes += piece.length;
    if (this.heldBytes <= this.maxLineBytes) this.pieces.push(piece);
    else this.pieces = [];
  }

  private *finish(endBytes: number): Generator<RawLine> {
    const { number, offset, heldBytes } = this;
    const bytes = heldBytes > this.maxLineBytes ? null : Buffer.concat(this.pieces);
    this.number += 1;
    this.offset += heldBytes + endBytes;
    this.pieces = [];
    this.heldBytes = 0;
    if (bytes === null || !isBlank(bytes)) yield { number, offset, bytes };
  }
}

function isBlank(bytes: Buffer): boolean {
  return bytes.length < 4096 && bytes.toString('latin1').trim() === '';
}
