/** What one decode call has to do. */
export interface TickWork {
  passes: number;
  tokens: number;
  /** Rows whose logits are computed: each is one more trip through the output layer. */
  sampledRows: number;
  /** Pairs of a token and a position it attends to. */
  attendedTokens: number;
}
