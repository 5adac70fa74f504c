import type { SchedulerStats } from '../../scheduler/index.js';

const minimumSeconds = 1;
/** The openai client ignores a Retry-After beyond this. */
const maximumSeconds = 60;
const forgettingMs = 30_000;
/** With more of the slots free, the pace says how much was asked for, not how much could be done. */
const mostFreeShare = 0.25;

const leastGaps = 4;

/** Slots and line right after a sequence has finished. */
export type Occupancy = Pick<SchedulerStats, 'waiting' | 'slotCount' | 'cachedSlots' | 'emptySlots'>;

/** How soon a place in line opens, from the rate at which sequences finished lately while slots were scarce. */
export class WaitEstimator {
  /** While slots were scarce; what is long ago counts less. */
  private finishes = 0;
  private scarceMs = 0;
  private gaps = 0;
  /** Of the latest finish, if slots were scarce then. */
  private lastMs: number | null = null;

  finished(nowMs: number, { waiting, slotCount, cachedSlots, emptySlots }: Occupancy): void {
    const otherFreeSlots = cachedSlots + emptySlots - 1;
    if (waiting === 0 && otherFreeSlots > mostFreeShare * slotCount) {
      this.lastMs = null;
      return;
    }
    if (this.lastMs !== null) {
      const gapMs = nowMs - this.lastMs;
      const kept = Math.exp(-gapMs / forgettingMs);
      this.gaps += 1;
      this.finishes = this.finishes * kept + 1;
      this.scarceMs = this.scarceMs * kept + gapMs;
    }
    this.lastMs = nowMs;
  }

  /** Whether more than a lucky or unlucky few have finished. */
  get isSettled(): boolean {
    return this.gaps >= leastGaps;
  }

  /** @returns milliseconds until those who wait now have gone; 0 while nothing is known */
  waitMs(waiting: number): number {
    const rate = this.finishedPerSecond;
    return rate === 0 ? 0 : (waiting / rate) * 1000;
  }

  /** Sequences per second; 0: not known yet. */
  get finishedPerSecond(): number {
    return this.scarceMs === 0 ? 0 : (1000 * this.finishes) / this.scarceMs;
  }

  /** @returns seconds for Retry-After until about half of those waiting are gone */
  retryAfterSeconds(waiting: number): number {
    const seconds = Math.ceil(this.waitMs(waiting / 2) / 1000);
    return Math.min(maximumSeconds, Math.max(minimumSeconds, seconds));
  }
}
