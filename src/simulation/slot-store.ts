import { emptyDigest, extendDigest, tokenAfter } from './simulated-text.js';

/** What the cells of a lane hold. */
interface Cells {
  tokens: number[];
  /** Digest after each token. */
  digests: number[];
  /** Under which salt each token was computed. */
  salts: string[];
}

/** Cells behind `length` keep what they held, as in llama.cpp: cutting a lane does not wipe it. */
interface Lane {
  length: number;
  cells: Cells;
}

/**
 * The native side's truth: which tokens each slot really holds. Forgiving like llama.cpp, it never asserts; and like
 * llama.cpp it moves the data of a copy only when the next call is decoded, from what the donor holds by then.
 */
export class SlotStore {
  private readonly slots: Lane[];
  private readonly snapshots = new Map<number, Cells>();
  private readonly meanLengthTokens: number;
  private pendingCopies: { from: number; to: number }[] = [];

  constructor(slotCount: number, meanLengthTokens: number) {
    this.slots = Array.from({ length: slotCount }, () => ({
      length: 0,
      cells: { tokens: [], digests: [], salts: [] },
    }));
    this.meanLengthTokens = meanLengthTokens;
  }

  get slotCount(): number {
    return this.slots.length;
  }

  /** Tokens held; `getSequenceKvCacheMaxPosition + 1` of the native side. */
  length(slot: number): number {
    return this.slots[slot]!.length;
  }

  tokenAt(slot: number, position: number): number | undefined {
    const { length, cells } = this.slots[slot]!;
    return position < length ? cells.tokens[position] : undefined;
  }

  saltAt(slot: number, position: number): string | undefined {
    const { length, cells } = this.slots[slot]!;
    return position < length ? cells.salts[position] : undefined;
  }

  append(slot: number, token: number, salt: string): void {
    const lane = this.slots[slot]!;
    const { tokens, digests, salts } = lane.cells;
    salts[lane.length] = salt;
    digests[lane.length] = extendDigest(this.lastDigest(lane), token);
    tokens[lane.length] = token;
    lane.length += 1;
  }

  /** Nothing happens when it holds fewer. */
  truncate(slot: number, keepTokens: number): void {
    const lane = this.slots[slot]!;
    lane.length = Math.min(lane.length, keepTokens);
  }

  copy(from: number, to: number, keepTokens: number): void {
    this.slots[to]!.length = Math.min(keepTokens, this.length(from));
    this.pendingCopies.push({ from, to });
  }

  /** A call is about to be decoded: the data of copies moves, whole lanes in the order in which they were asked for. */
  moveCopies(): void {
    for (const { from, to } of this.pendingCopies) this.slots[to]!.cells = copyOf(this.slots[from]!.cells);
    this.pendingCopies = [];
  }

  /** @returns false while copies are pending: an engine that writes now writes the wrong cells */
  save(slot: number, snapshotId: number): boolean {
    if (this.pendingCopies.length > 0) return false;
    const { length, cells } = this.slots[slot]!;
    this.snapshots.set(snapshotId, copyOf(cells, length));
    return true;
  }

  /** @returns false when there is no such snapshot, or while copies are pending */
  restore(slot: number, snapshotId: number, keepTokens: number): boolean {
    const snapshot = this.snapshots.get(snapshotId);
    if (!snapshot || this.pendingCopies.length > 0) return false;
    this.slots[slot] = { length: Math.min(keepTokens, snapshot.tokens.length), cells: copyOf(snapshot) };
    return true;
  }

  forget(snapshotId: number): void {
    this.snapshots.delete(snapshotId);
  }

  /** The model's next token after all that the slot holds. */
  sample(slot: number): number {
    return tokenAfter(this.lastDigest(this.slots[slot]!), this.meanLengthTokens);
  }

  private lastDigest({ length, cells }: Lane): number {
    return length === 0 ? emptyDigest : cells.digests[length - 1]!;
  }
}

function copyOf({ tokens, digests, salts }: Cells, count = tokens.length): Cells {
  return { tokens: tokens.slice(0, count), digests: digests.slice(0, count), salts: salts.slice(0, count) };
}
