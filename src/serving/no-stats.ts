import { emptyCacheStats, type SchedulerStats } from '../../scheduler/index.js';

/** Of a core that has no scheduler. */
export const noStats: SchedulerStats = {
  waiting: 0,
  waitingTokens: 0,
  waitingByClass: { interactive: 0, standard: 0, batch: 0 },
  running: 0,
  runningByClass: { interactive: 0, standard: 0, batch: 0 },
  prefilling: 0,
  decoding: 0,
  slotCount: 0,
  cachedSlots: 0,
  emptySlots: 0,
  cache: emptyCacheStats(),
  preemptions: { saved: 0, left: 0 },
  itlTargetMs: 0,
  costs: [],
};
