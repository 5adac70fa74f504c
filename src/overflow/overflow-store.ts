import type { PriorityClass } from '../../scheduler/index.js';
import type { GenerationEvent, GenerationRequest } from '../serving/serving-core.js';

export type RedisState = 'not configured' | 'up' | 'degraded';

/** A request that waits outside of the line. Times are wall clock, so that every process reads them alike. */
export interface OverflowJob {
  request: GenerationRequest;
  arrivedAtMs: number;
  /** When it is dropped if nobody has begun with it; null: never. */
  deadlineAtMs: number | null;
}

export type EventListener = (event: GenerationEvent) => void;

/** A job this process has taken and must bring to an end. */
export interface TakenJob extends OverflowJob {
  /** Called at most once, when nobody wants the answer any more or another worker has it. Set it before `begin`. */
  onStop: () => void;
  /**
   * From now on it is this process's. @returns the request to run, with whatever an earlier worker left;
   * null: there is nothing to do after all
   */
  begin(): Promise<GenerationRequest | null>;
  deliver: EventListener;
  /** Every choice has had its last event. */
  finish(): void;
  /** It cannot run here now: it waits again, and somebody else may take it. */
  putBack(): void;
}

export interface StoreDepth {
  queued: Record<PriorityClass, number>;
  /** Milliseconds the oldest job has waited; 0: none waits. */
  oldestMs: Record<PriorityClass, number>;
}

/** Where requests wait that found no place in the line: in memory, or in Redis for any process to take. */
export interface OverflowStore {
  readonly redis: RedisState;
  /** Requests of this process that wait here. */
  readonly queued: number;
  queuedOf(tenant: string): number;
  /** Of those that wait here for this process alone, how many it takes before a newcomer of this class. */
  queuedAhead(priorityClass: PriorityClass): number;
  /** Requests of this process that another one computes. */
  readonly elsewhere: number;
  /**
   * @param listener gets the answer's events, from whoever computes it
   * @throws (rejects with) ServiceError `queue_full` or `overflow_unavailable`
   */
  add(job: OverflowJob, listener: EventListener): Promise<void>;
  /** The client has left: the job goes, wherever it is, and nothing more is heard of it. Idempotent. */
  cancel(requestId: string): void;
  /** The next job by class, tenant and arrival; null: none waits. */
  take(): Promise<TakenJob | null>;
  /** Rejects while Redis is away. */
  depth(): Promise<StoreDepth>;
  /** Called when there may be something to take. */
  onWork: () => void;
  /** Whoever still waits is told, and its job goes. */
  close(): Promise<void>;
}
