import type { SlotOperation } from './ports.js';

const order: readonly SlotOperation['kind'][] = ['forget', 'save', 'restore', 'copy'];

/** While others decode, slot operations of one tick may take this long; what does not fit waits for the next tick. */
const operationBudgetMs = 25;
/** A save cannot wait: it may go over the budget by this factor, as long as that is shorter than computing again. */
const saveFactor = 4;

/**
 * Operations for the next plan. The account counts them as done; llama.cpp does them in this order: what is forgotten
 * makes room, then saves and restores, then copies, whose data moves only in the decode call.
 */
export class PlannedOperations {
  /** Predicted milliseconds of all of them. */
  totalMs = 0;
  private operations: SlotOperation[] = [];
  private readonly donors = new Set<number>();
  private readonly filled = new Set<number>();

  get hasTime(): boolean {
    return this.totalMs < operationBudgetMs;
  }

  /** The first operation always fits. */
  fits(ms: number): boolean {
    return this.totalMs === 0 || this.totalMs + ms <= operationBudgetMs;
  }

  /**
   * Who decodes meanwhile waits either for the save now or for the prefill later.
   * @param recomputeMs that prefill
   * @param passMs of a large model: its ticks take longer, and so may what lies between them
   */
  fitsSave(ms: number, recomputeMs: number, passMs: number): boolean {
    const longestMs = saveFactor * Math.max(operationBudgetMs, passMs);
    return this.fits(ms) || this.totalMs + ms <= Math.min(recomputeMs, longestMs);
  }

  save(slot: number, snapshotId: number, tokens: Uint32Array, ms: number): void {
    this.operations.push({ kind: 'save', slot, snapshotId, tokens });
    this.totalMs += ms;
  }

  restore(slot: number, snapshotId: number, keepTokens: number): void {
    this.operations.push({ kind: 'restore', slot, snapshotId, keepTokens });
    this.filled.add(slot);
  }

  copy(fromSlot: number, toSlot: number, keepTokens: number): void {
    this.operations.push({ kind: 'copy', fromSlot, toSlot, keepTokens });
    this.donors.add(fromSlot);
    this.filled.add(toSlot);
  }

  /** Restores are done before copies, so what is to be copied must not be restored over. */
  mayRestoreInto(slot: number): boolean {
    return !this.donors.has(slot);
  }

  /** Saves are done first, so what an operation is yet to bring cannot be saved. */
  maySave(slot: number): boolean {
    return !this.filled.has(slot);
  }

  take(forgottenSnapshots: readonly number[]): SlotOperation[] {
    const forgets = forgottenSnapshots.map((snapshotId): SlotOperation => ({ kind: 'forget', snapshotId }));
    const taken = [...forgets, ...this.operations];
    this.operations = [];
    this.totalMs = 0;
    this.donors.clear();
    this.filled.clear();
    return order.flatMap((kind) => taken.filter((operation) => operation.kind === kind));
  }
}
