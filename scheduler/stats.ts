import type { CacheStats } from './cache-stats.js';
import type { CostCoefficients } from './cost-model.js';
import type { PriorityClass } from './sequence-spec.js';

export interface SchedulerStats {
  waiting: number;
  waitingTokens: number;
  waitingByClass: Record<PriorityClass, number>;
  /** Sequences that hold a slot. */
  running: number;
  prefilling: number;
  decoding: number;
  slotCount: number;
  /** Free slots that still hold reusable KV. */
  cachedSlots: number;
  emptySlots: number;
  cache: CacheStats;
  /** The ITL target in force; 0: none. */
  itlTargetMs: number;
  /** What decode calls cost, per number of threads. */
  costs: readonly { threads: number; coefficients: CostCoefficients; relativeError: number }[];
}
