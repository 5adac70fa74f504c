import type { BatchLine } from './batch-line.js';
import type { TokenCounts } from './journal.js';

/** What became of a line: an answer, or a refusal that would come again. */
export interface LineAnswer {
  /** As HTTP would have it. */
  status: number;
  requestId: string;
  body: object;
  tokens: TokenCounts;
}

/** Nobody could answer now, and that says nothing about the line: it is to be tried again. */
export class LineDelayed extends Error {
  readonly afterMs: number;

  constructor(message: string, afterMs: number) {
    super(message);
    this.name = 'LineDelayed';
    this.afterMs = afterMs;
  }
}

export interface LineAnswerer {
  /**
   * @param tenant who pays
   * @param stop aborts when the answer is not wanted any more
   * @returns null if `stop` aborted
   * @throws LineDelayed
   */
  answer(line: BatchLine, tenant: string, stop: AbortSignal): Promise<LineAnswer | null>;
}
