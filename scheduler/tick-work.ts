import type { Passes } from './pass-count.js';

/** What one decode call has to do. */
export interface TickWork extends Passes {
  /** Of rows and fillers. */
  tokens: number;
  /** Rows whose logits are computed: each is one more trip through the output layer. */
  sampledRows: number;
  /** Pairs of a token and a position it attends to; those of a chunk that is computed in tiles count less (`attendedBy`). */
  attendedTokens: number;
}
