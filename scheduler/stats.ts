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
}
