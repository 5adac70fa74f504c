/** What eviction remembers of a cached prefix. */
export interface CacheEntry {
  /** How often it was worth something: 1 when stored, one more per reuse. */
  uses: number;
  /** The inflation when it was last used. */
  credit: number;
}

/** Weight of one observation in the reuse rate. */
const rateWeight = 0.05;
/** However rarely caches were used lately, the next one may be. */
const lowestReuseRate = 0.1;

/**
 * Which cached prefix is worth least: greedy-dual with frequency (Cao & Irani's GreedyDual-Size, 1997; GDSF). An
 * entry's value is what computing it again would cost, times its uses, plus the inflation when it was last used;
 * evicting raises the inflation to the victim's value, so what nobody uses becomes cheaper with every eviction.
 */
export class Eviction {
  private inflation = 0;
  private observedRate = 0.5;

  /** Expected share of cached prefixes that are used again. */
  get reuseRate(): number {
    return Math.max(lowestReuseRate, this.observedRate);
  }

  /** Stored, or used up to now: its age starts again. */
  refresh(entry: CacheEntry): void {
    entry.credit = this.inflation;
  }

  used(entry: CacheEntry): void {
    entry.uses += 1;
    entry.credit = this.inflation;
    this.observe(1);
  }

  /** Milliseconds that keeping the entry is expected to save. */
  worthMs(entry: CacheEntry, recomputeMs: number): number {
    if (recomputeMs === 0) return 0;
    return Math.max(0, this.valueMs(entry, recomputeMs) - this.inflation);
  }

  /** The entry is gone for good. */
  evicted(entry: CacheEntry, recomputeMs: number): void {
    if (recomputeMs === 0) return;
    this.inflation = Math.max(this.inflation, this.valueMs(entry, recomputeMs));
    if (entry.uses === 1) this.observe(0);
  }

  private valueMs({ uses, credit }: CacheEntry, recomputeMs: number): number {
    return credit + uses * this.reuseRate * recomputeMs;
  }

  private observe(reused: 0 | 1): void {
    this.observedRate += rateWeight * (reused - this.observedRate);
  }
}
