/** Of the call in which sequences ended, how long the next one may be held for those that follow. */
export const holdShare = 0.1;
/** However long calls take. */
export const longestHoldMs = 50;
/** With fewer ends than this followed in time, nobody is waited for ... */
const leastFollowedShare = 0.5;
/** ... but for the first end in so many, to see whether that has changed. */
const endsPerTrial = 16;
/** Weight of the latest hold in what is known of them. */
const learningRate = 0.1;

/**
 * Clients in a loop ask again as soon as they are answered, a few milliseconds into the next call, and then wait for
 * all of it. Held back for those milliseconds, the call does not delay them, and finds their work done
 * instead of sharing cores with it. Whether answers are followed in time is learned, so that whoever is far
 * away, or in no hurry, is not waited for. After anticipatory disk scheduling (Iyer and Druschel 2001).
 */
export class Anticipation {
  /** Ends that nobody has followed yet. */
  private open = 0;
  private ended = 0;
  private windowMs = 0;
  private untilMs: number | null = null;
  private followedShare = leastFollowedShare;
  private endsToTrial = 0;

  /** @param callMs of the call in which so many sequences ended */
  seeEnds(count: number, callMs: number): void {
    if (count === 0) return;
    this.endsToTrial -= count;
    const isTrial = this.endsToTrial <= 0;
    if (isTrial) this.endsToTrial = endsPerTrial;
    if (!isTrial && this.followedShare < leastFollowedShare) return;
    this.ended = count;
    this.open = count;
    this.windowMs = Math.min(longestHoldMs, holdShare * callMs);
  }

  seeArrivals(count: number): void {
    if (this.open > 0) this.open = Math.max(0, this.open - count);
    if (this.open === 0) this.learn();
  }

  /** How much longer the next call is to be held; 0: it may begin. */
  holdMs(nowMs: number): number {
    if (this.open === 0) return 0;
    this.untilMs ??= nowMs + this.windowMs;
    if (nowMs < this.untilMs) return this.untilMs - nowMs;
    this.learn();
    return 0;
  }

  /** There is no use in holding: others wait already, or nobody would be held. */
  forget(): void {
    this.open = 0;
    this.ended = 0;
    this.untilMs = null;
  }

  private learn(): void {
    if (this.ended > 0) {
      const followed = (this.ended - this.open) / this.ended;
      this.followedShare += learningRate * (followed - this.followedShare);
    }
    this.forget();
  }
}
