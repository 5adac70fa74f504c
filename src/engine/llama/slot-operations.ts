import { type SaveReport, type SlotOperation, writtenSlot } from '../../../scheduler/index.js';
import type { SlotOperationReport } from '../engine.js';
import type { NativeContext } from './native-context.js';
import type { SnapshotStore } from './snapshot-store.js';

export interface AppliedOperations {
  /** Slots that could not be brought into the planned state; they are empty now. */
  lostSlots: number[];
  saves: SaveReport[];
  reports: SlotOperationReport[];
}

/**
 * Copies, saves, restores and cuts slots between decode calls, checking everything that llama.cpp would answer with
 * an abort. Facts: `llama_kv_cache::seq_cp` renames cells at once but moves their data in the next decode call, all
 * cells of the lane whether used or not; saving and restoring move used cells only, at once.
 */
export class SlotOperations {
  private readonly native: NativeContext;
  private readonly slotCount: number;
  private readonly contextTokens: number;
  private readonly snapshots: SnapshotStore | null;
  /** Copies whose data has not moved yet: until then it is not safe to read or write whole states. */
  private copiesPending = false;

  constructor(
    native: NativeContext,
    shape: { slotCount: number; contextTokens: number },
    snapshots: SnapshotStore | null,
  ) {
    this.native = native;
    this.slotCount = shape.slotCount;
    this.contextTokens = shape.contextTokens;
    this.snapshots = snapshots;
  }

  /** A decode call has succeeded. */
  decoded(): void {
    this.copiesPending = false;
  }

  /** Answers at once, without a promise, when nothing but cuts is asked for. */
  apply(operations: readonly SlotOperation[]): AppliedOperations | Promise<AppliedOperations> {
    const applied: AppliedOperations = { lostSlots: [], saves: [], reports: [] };
    const isInstant = operations.every(({ kind }) => kind === 'truncate' || kind === 'forget');
    if (!isInstant) return this.applyAll(operations, applied);
    for (const operation of operations) {
      if (operation.kind === 'truncate') this.settle(operation.slot, operation.keepTokens, applied);
      else if (operation.kind === 'forget') void this.snapshots?.remove(operation.snapshotId);
    }
    return applied;
  }

  private async applyAll(
    operations: readonly SlotOperation[],
    applied: AppliedOperations,
  ): Promise<AppliedOperations> {
    for (const operation of operations) {
      const startedMs = performance.now();
      const bytes = await this.perform(operation).catch(() => null);
      const written = writtenSlot(operation);
      if (written) this.settle(written.slot, bytes === null ? -1 : written.keepTokens, applied);
      const { kind } = operation;
      if (kind === 'truncate' || kind === 'forget') continue;
      if (kind === 'save') applied.saves.push({ snapshotId: operation.snapshotId, bytes });
      const ms = performance.now() - startedMs;
      applied.reports.push({ kind, ms, bytes: bytes ?? 0, failed: bytes === null });
    }
    return applied;
  }

  /** @returns bytes written to a snapshot */
  private async perform(operation: SlotOperation): Promise<number> {
    switch (operation.kind) {
      case 'copy':
        await this.copy(operation.fromSlot, operation.toSlot, operation.keepTokens);
        return 0;
      case 'save':
        return this.save(operation);
      case 'restore':
        await this.restore(operation);
        return 0;
      case 'forget':
        await this.snapshots?.remove(operation.snapshotId);
        return 0;
      case 'truncate':
        return 0;
    }
  }

  private async copy(fromSlot: number, toSlot: number, keepTokens: number): Promise<void> {
    this.assertSlot(fromSlot);
    this.assertSlot(toSlot);
    if (fromSlot === toSlot || this.held(fromSlot) < keepTokens) throw new RangeError('nothing to copy');
    this.copiesPending = true;
    await this.native.copySequenceStateFromOtherSequence(toSlot, fromSlot);
  }

  private async save(operation: { slot: number; snapshotId: number; tokens: Uint32Array }): Promise<number> {
    const { slot, snapshotId, tokens } = operation;
    this.assertSlot(slot);
    if (!this.snapshots || this.copiesPending || this.held(slot) !== tokens.length) {
      throw new RangeError('the slot does not hold what is to be saved');
    }
    try {
      return await this.native.saveSequenceStateToFile(this.snapshots.path(snapshotId), slot, tokens);
    } catch (error) {
      await this.snapshots.remove(snapshotId);
      throw error;
    }
  }

  private async restore({ slot, snapshotId }: { slot: number; snapshotId: number }): Promise<void> {
    this.assertSlot(slot);
    if (!this.snapshots || this.copiesPending) throw new RangeError('no snapshot can be restored now');
    await this.native.loadSequenceStateFromFile(this.snapshots.path(snapshotId), slot, this.contextTokens);
  }

  /** Cuts the slot to its planned length; what cannot be cut, or is shorter, is emptied. -1: empty it as lost. */
  private settle(slot: number, keepTokens: number, applied: AppliedOperations): void {
    if (keepTokens > 0 && (this.held(slot) === keepTokens || this.cut(slot, keepTokens))) return;
    this.native.disposeSequence(slot);
    if (keepTokens !== 0) applied.lostSlots.push(slot);
  }

  /** A sliding window of which the model's file says nothing shows only by what it has dropped at the beginning. */
  private cut(slot: number, keepTokens: number): boolean {
    this.native.removeTokenCellsFromSequence(slot, keepTokens, -1);
    return this.held(slot) === keepTokens && this.native.getSequenceKvCacheMinPosition(slot) === 0;
  }

  private held(slot: number): number {
    return this.native.getSequenceKvCacheMaxPosition(slot) + 1;
  }

  private assertSlot(slot: number): void {
    if (!(slot >= 0 && slot < this.slotCount)) throw new RangeError(`there is no slot ${slot}`);
  }
}
