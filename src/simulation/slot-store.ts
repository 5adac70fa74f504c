import { emptyDigest, extendDigest, tokenAfter } from './simulated-text.js';

interface Held {
  tokens: number[];
  /** Digest after each token. */
  digests: number[];
  /** Under which salt each token was computed. */
  salts: string[];
}

/** The native side's truth: which tokens each slot really holds. Forgiving like llama.cpp, it never asserts. */
export class SlotStore {
  private readonly slots: Held[];
  private readonly snapshots = new Map<number, Held>();
  private readonly meanLengthTokens: number;

  constructor(slotCount: number, meanLengthTokens: number) {
    this.slots = Array.from({ length: slotCount }, () => ({ tokens: [], digests: [], salts: [] }));
    this.meanLengthTokens = meanLengthTokens;
  }

  get slotCount(): number {
    return this.slots.length;
  }

  /** Tokens held; `getSequenceKvCacheMaxPosition + 1` of the native side. */
  length(slot: number): number {
    return this.slots[slot]!.tokens.length;
  }

  tokenAt(slot: number, position: number): number | undefined {
    return this.slots[slot]!.tokens[position];
  }

  saltAt(slot: number, position: number): string | undefined {
    return this.slots[slot]!.salts[position];
  }

  append(slot: number, token: number, salt: string): void {
    const { tokens, digests, salts } = this.slots[slot]!;
    salts.push(salt);
    digests.push(extendDigest(digests.at(-1) ?? emptyDigest, token));
    tokens.push(token);
  }

  /** Nothing happens when it holds fewer. */
  truncate(slot: number, keepTokens: number): void {
    const { tokens, digests, salts } = this.slots[slot]!;
    if (keepTokens >= tokens.length) return;
    tokens.length = keepTokens;
    digests.length = keepTokens;
    salts.length = keepTokens;
  }

  copy(from: number, to: number, keepTokens: number): void {
    this.slots[to] = firstOf(this.slots[from]!, keepTokens);
  }

  save(slot: number, snapshotId: number): void {
    this.snapshots.set(snapshotId, firstOf(this.slots[slot]!, this.length(slot)));
  }

  /** @returns false when there is no such snapshot */
  restore(slot: number, snapshotId: number, keepTokens: number): boolean {
    const snapshot = this.snapshots.get(snapshotId);
    if (snapshot) this.slots[slot] = firstOf(snapshot, keepTokens);
    return snapshot !== undefined;
  }

  forget(snapshotId: number): void {
    this.snapshots.delete(snapshotId);
  }

  /** The model's next token after all that the slot holds. */
  sample(slot: number): number {
    return tokenAfter(this.slots[slot]!.digests.at(-1) ?? emptyDigest, this.meanLengthTokens);
  }
}

function firstOf({ tokens, digests, salts }: Held, count: number): Held {
  return {
    tokens: tokens.slice(0, count),
    digests: digests.slice(0, count),
    salts: salts.slice(0, count),
  };
}
