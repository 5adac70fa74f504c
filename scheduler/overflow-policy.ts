/** The line for slots as a newcomer finds it. */
export interface LineView {
  freeSlots: number;
  waiting: number;
  /** Milliseconds until a newcomer would get a slot; 0 when nothing is known. */
  estimatedWaitMs: number;
}

export interface Newcomer {
  choices: number;
  /** Longest wait for which the line of this process is good enough; infinite: any. */
  targetWaitMs: number;
  /** Requests of the same tenant that this process has put into the store and that have yet to come into a line. */
  queuedOfTenant: number;
}

/** Once overflowing, the line must be this much shorter than the target before it takes newcomers again. */
const leaveShare = 0.5;
/** While requests wait both in line and in the store, one freed slot of this many goes to the store. */
const turns = 2;

/**
 * When a request goes into the overflow store instead of the line of this process, and when the store is drained.
 * Once something overflows, everything goes into the store until it is empty and the line is short again: so nobody is
 * overtaken by a later request of the same tenant, and the two ways do not flap.
 */
export class OverflowPolicy {
  private overflowing = false;
  private freedSlots = 0;

  /** Whether newcomers are kept out of the line of this process for now. */
  get isOverflowing(): boolean {
    return this.overflowing;
  }

  /** @param queued requests of this process that wait in the store */
  admitsDirectly(newcomer: Newcomer, line: LineView, queued: number): boolean {
    const hasRoom = line.freeSlots - line.waiting >= newcomer.choices;
    if (this.overflowing) {
      const isShort = hasRoom || line.estimatedWaitMs <= newcomer.targetWaitMs * leaveShare;
      if (queued > 0 || !isShort) return false;
      this.overflowing = false;
    }
    if (newcomer.queuedOfTenant > 0) return false;
    if (hasRoom || line.estimatedWaitMs <= newcomer.targetWaitMs) return true;
    this.overflowing = true;
    return false;
  }

  /** The line refused a request that was to go into it. */
  lineRefused(): void {
    this.overflowing = true;
  }

  /** A sequence ended. */
  slotFreed(): void {
    this.freedSlots += 1;
  }

  /**
   * How many jobs to take from the store now: one for every slot that nobody in line will get, and every second
   * slot while both wait.
   */
  pulls(line: Pick<LineView, 'freeSlots' | 'waiting'>): number {
    const spare = line.freeSlots - line.waiting;
    if (spare > 0) return spare;
    return this.freedSlots >= turns ? 1 : 0;
  }

  pulled(): void {
    this.freedSlots = 0;
  }
}
