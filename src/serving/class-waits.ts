import {
  classRank,
  type PriorityClass,
  priorityClasses,
  type SchedulerStats,
} from '../../scheduler/index.js';
import { type Occupancy, WaitEstimator } from './wait-estimator.js';

/** What an estimate needs to know of slots and line. */
export type ClassOccupancy = Occupancy & Pick<SchedulerStats, 'waitingByClass' | 'runningByClass'>;

/**
 * The wait for a slot by class. For each of them lower ones do not exist: they give up their slots for it, and how long
 * they generate says nothing of how soon one of its own is done.
 */
export class ClassWaits {
  private readonly estimators: Readonly<Record<PriorityClass, WaitEstimator>> = {
    interactive: new WaitEstimator(),
    standard: new WaitEstimator(),
    batch: new WaitEstimator(),
  };

  /** A sequence gave its slot back for good. */
  finished(finishedClass: PriorityClass, nowMs: number, occupancy: ClassOccupancy): void {
    for (const name of priorityClasses) {
      if (!isLower(finishedClass, name)) this.estimators[name].finished(nowMs, seenBy(name, occupancy));
    }
  }

  /**
   * @param ahead sequences that wait and get a slot before the newcomer
   * @returns milliseconds until they have all got one; 0 while too little is known
   */
  waitMs(priorityClass: PriorityClass, ahead: number, occupancy: ClassOccupancy): number {
    const { cachedSlots, emptySlots } = seenBy(priorityClass, occupancy);
    const estimator = this.estimators[priorityClass];
    return estimator.isSettled ? estimator.waitMs(Math.max(0, ahead - cachedSlots - emptySlots)) : 0;
  }

  /** @returns seconds for Retry-After until about half of those waiting are gone */
  retryAfterSeconds(waiting: number): number {
    return this.estimators.batch.retryAfterSeconds(waiting);
  }
}

function seenBy(priorityClass: PriorityClass, occupancy: ClassOccupancy): Occupancy {
  const { waitingByClass, runningByClass, slotCount, cachedSlots } = occupancy;
  let { emptySlots } = occupancy;
  let waiting = 0;
  for (const name of priorityClasses) {
    if (isLower(name, priorityClass)) emptySlots += runningByClass[name];
    else waiting += waitingByClass[name];
  }
  return { waiting, slotCount, cachedSlots, emptySlots };
}

function isLower(left: PriorityClass, right: PriorityClass): boolean {
  return classRank({ priorityClass: left }) > classRank({ priorityClass: right });
}
