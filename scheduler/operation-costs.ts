/** Milliseconds of slot operations, as measured on the machine that does them. */
export interface OperationCosts {
  /** A copy moves the whole lane, whatever it holds, during the next decode call. */
  copyMs: number;
  /** Per save or restore, whatever its size. */
  fileMs: number;
  saveMsPerToken: number;
  restoreMsPerToken: number;
}

/** SmolLM2-135M with a window of 2,048 tokens and files in memory, on two cores. */
export const defaultOperationCosts: OperationCosts = {
  copyMs: 8,
  fileMs: 1,
  saveMsPerToken: 0.012,
  restoreMsPerToken: 0.008,
};
