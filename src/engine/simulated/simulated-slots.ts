import { invariant } from '../../../scheduler/assert.js';
import type { SaveReport, SlotOperation, TickPlan, TickResult } from '../../../scheduler/index.js';

/** Bytes 0 to 255 are themselves. */
export const simulatedEndToken = 256;
export const simulatedVocabularySize = 258;

export const simulatedBytesPerToken = 1024;

const letters = 'etaoinshrdlu';

type DecodedResult = Extract<TickResult, { outcome: 'decoded' }>;

/**
 * The KV of a simulated model: each slot remembers its tokens, and the next token is a function of all of them.
 * A wrong slot, position or reuse therefore changes the text, as it would with a real model.
 */
export class SimulatedSlots {
  private readonly slots: number[][];
  private readonly snapshots = new Map<number, number[]>();
  private readonly meanLengthTokens: number;

  /** @param meanLengthTokens after how many tokens a generation ends by itself, on average */
  constructor(slotCount: number, meanLengthTokens: number) {
    this.slots = Array.from({ length: slotCount }, () => []);
    this.meanLengthTokens = meanLengthTokens;
  }

  tokens(slot: number): number {
    return this.slots[slot]!.length;
  }

  clear(slot: number): void {
    this.slots[slot]!.length = 0;
  }

  contextTokens(plan: TickPlan): number {
    return plan.rows.reduce((sum, row) => sum + this.slots[row.slot]!.length, 0);
  }

  /** @param decodeMs what the call is said to have taken */
  apply(plan: TickPlan, neverEnds: (sequenceId: number) => boolean, decodeMs = 1): DecodedResult {
    const saves = plan.operations.flatMap((operation) => this.operate(operation) ?? []);
    const sampledTokens = plan.rows.map(({ slot, firstPosition, tokens, sample, sequenceId }) => {
      const held = this.slots[slot]!;
      invariant(
        held.length === firstPosition,
        () => `slot ${slot} holds ${held.length}, row starts at ${firstPosition}`,
      );
      for (const token of tokens) held.push(token);
      return sample ? this.nextToken(held, neverEnds(sequenceId)) : -1;
    });
    return { outcome: 'decoded', sampledTokens, decodeMs, saves };
  }

  private operate(operation: SlotOperation): SaveReport | null {
    switch (operation.kind) {
      case 'truncate':
        this.hold(operation.slot, this.slots[operation.slot]!, operation.keepTokens);
        return null;
      case 'copy':
        this.hold(operation.toSlot, this.slots[operation.fromSlot]!, operation.keepTokens);
        return null;
      case 'restore':
        this.hold(operation.slot, this.snapshots.get(operation.snapshotId) ?? [], operation.keepTokens);
        return null;
      case 'save': {
        const { slot, snapshotId, tokens } = operation;
        this.snapshots.set(snapshotId, [...this.slots[slot]!]);
        return { snapshotId, bytes: tokens.length * simulatedBytesPerToken };
      }
      case 'forget':
        this.snapshots.delete(operation.snapshotId);
        return null;
    }
  }

  private hold(slot: number, source: readonly number[], keepTokens: number): void {
    invariant(
      keepTokens <= source.length,
      () => `slot ${slot} is to hold ${keepTokens} of ${source.length} tokens`,
    );
    this.slots[slot] = source.slice(0, keepTokens);
  }

  /** Words of frequent letters, drawn by a hash over everything the slot holds (FNV-1a). */
  private nextToken(held: readonly number[], neverEnds: boolean): number {
    let hash = 0x811c9dc5;
    for (const token of held) hash = Math.imul(hash ^ token, 0x01000193) >>> 0;
    hash = Math.imul(hash ^ (hash >>> 15), 0x2c1b3c6d) >>> 0;
    if (!neverEnds && hash % this.meanLengthTokens === 0) return simulatedEndToken;
    const draw = (hash >>> 8) % 15;
    return draw < letters.length ? letters.charCodeAt(draw) : 32;
  }
}
