import { lowestRate } from './reuse-rate.js';

/** What eviction remembers of a cached prefix. */
export interface CacheEntry {
  /** How often it was worth something: 1 when stored, one more per reuse. */
  uses: number;
  /** The inflation when it was last used. */
  credit: number;
  /** Left by bulk work: each of its requests is sent once. */
  isBulk: boolean;
}

/**
 * Which cached prefix is worth least: greedy-dual with frequency (Cao & Irani's GreedyDual-Size, 1997; GDSF). An
 * entry's value is what computing it again would cost, times how often that is expected, plus the inflation when it
 * was last used; evicting raises the inflation to the victim's value, so what nobody uses becomes cheaper with every
 * eviction.
 */
export class Eviction {
  private readonly reuse: { readonly rate: number };
  private inflation = 0;

  /** @param reuse expected share of entries that are asked for again */
  constructor(reuse: { readonly rate: number }) {
    this.reuse = reuse;
  }

  /** Stored, or used up to now: its age starts again. */
  refresh(entry: CacheEntry): void {
    entry.credit = this.inflation;
  }

  used(entry: CacheEntry): void {
    entry.uses += 1;
    this.refresh(entry);
  }

  /** Expected share of entries like this that are asked for again. */
  rateOf({ isBulk }: Pick<CacheEntry, 'isBulk'>): number {
    return isBulk ? lowestRate : this.reuse.rate;
  }

  /** Milliseconds that keeping the entry is expected to save. */
  worthMs(entry: CacheEntry, recomputeMs: number): number {
    if (recomputeMs === 0) return 0;
    return Math.max(0, this.valueMs(entry, recomputeMs) - this.inflation);
  }

  /** The entry is gone for good. */
  evicted(entry: CacheEntry, recomputeMs: number): void {
    if (recomputeMs > 0) this.inflation = Math.max(this.inflation, this.valueMs(entry, recomputeMs));
  }

  private valueMs(entry: CacheEntry, recomputeMs: number): number {
    return entry.credit + entry.uses * this.rateOf(entry) * recomputeMs;
  }
}
