/** Of the call in which sequences ended, how long the next one may be held for those that follow. */
export const holdShare = 0.1;
/** However long calls take. */
export const longestHoldMs = 50;
/** When fewer answers than this are followed in time, nobody is waited for. */
const leastFollowedShare = 0.5;
/** Weight of the latest answers in that, if a call was held for those that follow. */
const heldWeight = 0.4;
/** If not, these share the cores with a call: they get more time, and count for less. */
const watchedWeight = 0.2;
const watchedFactor = 5;

/** Answers of one call, until they are followed or it is too late. */
interface Watch {
  answers: number;
  /** Of them, those that nobody has followed. */
  open: number;
  isHeld: boolean;
  windowMs: number;
  /** null: the next call has not been planned. */
  untilMs: number | null;
}

/**
 * Clients in a loop ask again as soon as they are answered, a few milliseconds into the next call, and then wait for
 * all of it. Held back for those milliseconds, the call does not delay them, and finds their work done
 * instead of sharing cores with it. Whether answers are followed in time is learned, so that whoever is far
 * away, or in no hurry, is not waited for. After anticipatory disk scheduling (Iyer and Druschel 2001).
 */
export class Anticipation {
  private watch: Watch | null = null;
  private followedShare = leastFollowedShare;

  /** @param callMs of the call in which so many sequences were answered */
  seeAnswers(count: number, callMs: number): void {
    if (count === 0) return;
    this.learn();
    const isHeld = this.followedShare >= leastFollowedShare;
    const windowMs = Math.min(longestHoldMs, holdShare * callMs) * (isHeld ? 1 : watchedFactor);
    this.watch = { answers: count, open: count, isHeld, windowMs, untilMs: null };
  }

  seeArrivals(count: number, nowMs: number): void {
    const { watch } = this;
    if (!watch || nowMs > (watch.untilMs ?? nowMs)) return;
    watch.open = Math.max(0, watch.open - count);
    if (watch.open === 0) this.learn();
  }

  /** How much longer the next call is to be held; 0: it may begin. */
  holdMs(nowMs: number): number {
    const { watch } = this;
    if (!watch) return 0;
    watch.untilMs ??= nowMs + watch.windowMs;
    if (nowMs < watch.untilMs) return watch.isHeld ? watch.untilMs - nowMs : 0;
    this.learn();
    return 0;
  }

  /** Whoever follows would have to wait in line, or nobody would be held. */
  forget(): void {
    this.watch = null;
  }

  private learn(): void {
    if (!this.watch) return;
    const { answers, open, isHeld } = this.watch;
    const weight = isHeld ? heldWeight : watchedWeight;
    this.followedShare += weight * ((answers - open) / answers - this.followedShare);
    this.watch = null;
  }
}
