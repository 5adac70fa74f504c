export type { Rejection } from './admission.js';
export { pairsOf, tileTokens } from './attention.js';
export {
  type CacheStats,
  type EvictionReason,
  emptyCacheStats,
  evictionReasons,
  type ReuseKind,
  reuseKinds,
} from './cache-stats.js';
export { type CostCoefficients, CostModel } from './cost-model.js';
export type { FinishedEvent, FinishReason, SchedulerEvent } from './events.js';
export { defaultOperationCosts, type OperationCosts } from './operation-costs.js';
export { type OverflowPlace, OverflowQueue, overflowCost, StartTimes } from './overflow-order.js';
export { type LineView, type Newcomer, OverflowPolicy } from './overflow-policy.js';
export { countPasses, passesOf } from './pass-count.js';
export { type SchedulingPolicy, throughputFirst } from './policy.js';
export {
  type Filler,
  type Row,
  type SaveReport,
  type SchedulerConfig,
  type SlotOperation,
  type TickPlan,
  type TickResult,
  writtenSlot,
} from './ports.js';
export { type PlannedTick, Scheduler } from './scheduler.js';
export {
  classRank,
  isEndOf,
  type PriorityClass,
  priorityClasses,
  type SequenceSpec,
} from './sequence-spec.js';
export type { PreemptionCounts, SchedulerStats } from './stats.js';
export { TickCosts } from './tick-costs.js';
export type { TtftTargets } from './tick-planner.js';
export type { TickWork } from './tick-work.js';
export { classAgingMs } from './waiting-queue.js';
export { type Chunk, chunksOf, workOf } from './work-of.js';
