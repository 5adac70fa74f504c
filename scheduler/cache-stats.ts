/** Where the first part of a prompt came from. */
export const reuseKinds = ['in-place', 'copy', 'snapshot', 'wait-and-copy'] as const;
export type ReuseKind = (typeof reuseKinds)[number];

/** Why cached KV went away. */
export const evictionReasons = [
  /** Its slot was needed and it was not worth a snapshot. */
  'overwritten',
  /** Its slot was needed; it lives on as a snapshot. */
  'saved',
  /** A snapshot that had to make room for others. */
  'snapshot-limit',
  /** A snapshot that could not be saved or restored. */
  'snapshot-failed',
  /** The slot's KV was not what the account said, or its operation failed. */
  'lost',
] as const;
export type EvictionReason = (typeof evictionReasons)[number];

/** Counts since the start, except where noted. */
export interface CacheStats {
  /** Prompt tokens looked up. */
  queriedTokens: number;
  /** Prompt tokens that need not be computed. */
  hitTokens: Record<ReuseKind, number>;
  /** Sequences by where their prefix came from; `cold` had none. */
  starts: Record<ReuseKind | 'cold', number>;
  /** Sequences that waited for another to compute what they share, which then went away. */
  waitsInVain: number;
  evictions: Record<EvictionReason, number>;
  /** Now. */
  snapshots: number;
  /** Now. */
  snapshotBytes: number;
}

export function emptyCacheStats(): CacheStats {
  return {
    queriedTokens: 0,
    hitTokens: { 'in-place': 0, copy: 0, snapshot: 0, 'wait-and-copy': 0 },
    starts: { 'in-place': 0, copy: 0, snapshot: 0, 'wait-and-copy': 0, cold: 0 },
    waitsInVain: 0,
    evictions: { overwritten: 0, saved: 0, 'snapshot-limit': 0, 'snapshot-failed': 0, lost: 0 },
    snapshots: 0,
    snapshotBytes: 0,
  };
}
