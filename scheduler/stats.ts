import type { CacheStats } from './cache-stats.js';
import type { CostCoefficients } from './cost-model.js';
import type { PriorityClass } from './sequence-spec.js';

export interface PreemptionCounts {
  /** Parked in a snapshot. */
  saved: number;
  /** Left in the slot as cache: computed again unless it is still there. */
  left: number;
}

export interface SchedulerStats {
  waiting: number;
  waitingTokens: number;
  waitingByClass: Record<PriorityClass, number>;
  /** Sequences that hold a slot. */
  running: number;
  runningByClass: Record<PriorityClass, number>;
  prefilling: number;
  decoding: number;
  slotCount: number;
  /** Free slots that still hold reusable KV. */
  cachedSlots: number;
  emptySlots: number;
  cache: CacheStats;
  /** Since the start: sequences that had to wait again, by what became of their KV. */
  preemptions: PreemptionCounts;
  /** The ITL target in force; 0: none. */
  itlTargetMs: number;
  /** What decode calls cost, per number of threads. */
  costs: readonly { threads: number; coefficients: CostCoefficients; relativeError: number }[];
}
