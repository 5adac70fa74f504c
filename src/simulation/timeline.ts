/** Simulated time: it passes only when somebody waits, and whatever is due happens on the way. */
export class Timeline {
  private currentMs = 0;
  /** Descending, so that the next one is at the end. */
  private readonly pending: { atMs: number; action: () => void }[] = [];

  get nowMs(): number {
    return this.currentMs;
  }

  get isEmpty(): boolean {
    return this.pending.length === 0;
  }

  /** Infinity: nothing is due. */
  get untilNextMs(): number {
    return (this.pending.at(-1)?.atMs ?? Number.POSITIVE_INFINITY) - this.currentMs;
  }

  /** Actions of the same moment happen in the order in which they were added. */
  after(delayMs: number, action: () => void): void {
    const entry = { atMs: this.currentMs + Math.max(0, delayMs), action };
    let low = 0;
    let high = this.pending.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.pending[middle]!.atMs > entry.atMs) low = middle + 1;
      else high = middle;
    }
    this.pending.splice(low, 0, entry);
  }

  /** Lets time pass; actions see the moment they were meant for. */
  advance(durationMs: number): void {
    const untilMs = this.currentMs + durationMs;
    while (this.pending.length > 0 && this.pending.at(-1)!.atMs <= untilMs) this.runNext();
    this.currentMs = untilMs;
  }

  /** Jumps to the next action. */
  runNext(): void {
    const next = this.pending.pop();
    if (!next) return;
    this.currentMs = Math.max(this.currentMs, next.atMs);
    next.action();
  }
}

/** The monotonic clock the scheduler sees: coarse on some machines, and after a suspended laptop it has jumped. */
export class SteppingClock {
  private readonly timeline: Timeline;
  private readonly resolutionMs: number;
  private offsetMs: number;

  /** @param resolutionMs readings are multiples of this; 0 is exact */
  constructor(timeline: Timeline, resolutionMs: number, startMs: number) {
    this.timeline = timeline;
    this.resolutionMs = resolutionMs;
    this.offsetMs = startMs;
  }

  read(): number {
    const exactMs = this.timeline.nowMs + this.offsetMs;
    return this.resolutionMs === 0 ? exactMs : Math.floor(exactMs / this.resolutionMs) * this.resolutionMs;
  }

  stepForward(durationMs: number): void {
    this.offsetMs += durationMs;
  }
}
