import { defaultOperationCosts, type OperationCosts } from '../../../scheduler/index.js';
import type { NativeContext } from './native-context.js';
import type { SnapshotStore } from './snapshot-store.js';

const probeSnapshotId = 0;
const probeTokens = 32;
/** Bytes per millisecond, measured on a small machine: they set the start of what is learned. */
const copyBytesPerMs = 5e6;
const saveBytesPerMs = 1.5e6;
const restoreBytesPerMs = 2.5e6;

export interface ProbedSlots {
  /** Whether a slot can forget its tail, which every reuse of a prefix needs. */
  canForgetTails: boolean;
  /** Whether a saved slot comes back. */
  canSave: boolean;
  /** Of a saved slot; 0 if none can be saved. */
  bytesPerToken: number;
  operationCosts: OperationCosts;
}

/**
 * Finds out by trying what this model's slots can do: recurrent models hold one state for all positions and cannot
 * cut it. For an engine that nobody uses yet; the slot is empty afterwards.
 */
export async function probeSlots(
  native: NativeContext,
  { contextTokens, batchTokens }: { contextTokens: number; batchTokens: number },
  snapshots: SnapshotStore | null,
): Promise<ProbedSlots> {
  const tokens = new Uint32Array(Math.min(probeTokens, contextTokens)).fill(1);
  const kept = tokens.length / 2;
  const held = () => native.getSequenceKvCacheMaxPosition(0) + 1;
  for (let position = 0; position < tokens.length; position += batchTokens) {
    const chunk = tokens.subarray(position, position + batchTokens);
    native.initBatch(chunk.length);
    native.addToBatch(0, position, chunk, Uint32Array.of(chunk.length - 1));
    await native.decodeBatch();
  }
  let bytes = 0;
  if (snapshots) {
    const path = snapshots.path(probeSnapshotId);
    bytes = await native.saveSequenceStateToFile(path, 0, tokens).catch(() => 0);
  }
  const canForgetTails = native.removeTokenCellsFromSequence(0, kept, -1) && held() === kept;
  native.disposeSequence(0);
  const canSave = bytes > 0 && (await comesBack());
  await snapshots?.remove(probeSnapshotId);
  const bytesPerToken = bytes / tokens.length;
  return { canForgetTails, canSave, bytesPerToken, operationCosts: costsOf(bytesPerToken, contextTokens) };

  async function comesBack(): Promise<boolean> {
    const path = snapshots!.path(probeSnapshotId);
    await native.loadSequenceStateFromFile(path, 0, contextTokens).catch(() => {});
    const isWhole = held() === tokens.length;
    native.disposeSequence(0);
    return isWhole;
  }
}

function costsOf(bytesPerToken: number, contextTokens: number): OperationCosts {
  if (bytesPerToken === 0) return defaultOperationCosts;
  return {
    fileMs: defaultOperationCosts.fileMs,
    copyMs: Math.max(1, (bytesPerToken * contextTokens) / copyBytesPerMs),
    saveMsPerToken: bytesPerToken / saveBytesPerMs,
    restoreMsPerToken: bytesPerToken / restoreBytesPerMs,
  };
}
