import type { CacheEntry } from './eviction.js';
import type { Sequence } from './sequence.js';

/** One KV lane. While it has an owner, the owner says which tokens it holds. */
export interface Slot extends CacheEntry {
  readonly kind: 'slot';
  readonly index: number;
  owner: Sequence | null;
  /** Tokens whose KV a free slot still holds; whoever has the same salt may use them. */
  cached: Uint32Array;
  cacheSalt: string;
  /** Positions the engine holds for this slot; null: unknown after a failed decode call. */
  kvTokens: number | null;
}
