import { PrefixIndex } from './prefix-index.js';

/** Before anything is known: as if of so many caches that left their slot so many had been asked for again. */
const first = { departures: 3, returns: 2 };
/**
 * However rarely caches were asked for lately, the next one may be. A save that pays at this rate is cheap
 * enough to try.
 */
export const lowestRate = 0.02;
/** What is older than one departure per slot, and no fewer than these, fades. */
const fewestRemembered = 32;
/** One that left less than this many departures per slot ago may yet be asked for: it counts only in part. */
const gracePerSlot = 0.5;
const graceWeight = 0.25;
/** A cache that is not asked for while this many others leave each slot will not be asked for. */
const patiencePerSlot = 16;

/** The tokens of a cache that has left its slot, whether it was parked or dropped. */
interface Ghost {
  /** The prompt must have more in common with it than this to be the same conversation. */
  readonly tokensToMatch: number;
}

/**
 * How often a cache that had to leave its slot is asked for again: whether parking pays. It remembers the tokens of
 * those that left (without their KV), as the ghost lists of ARC do (Megiddo & Modha, 2003). Each counts against the
 * rate soon after it left, so that traffic in which nobody returns is found out after a few dozen requests.
 */
export class ReuseRate {
  private readonly ghosts = new PrefixIndex<Ghost>();
  private readonly oldestFirst = new Set<Ghost>();
  private readonly capacity: number;
  /** The youngest of them, which do not count in full yet. */
  private readonly youngOldestFirst = new Set<Ghost>();
  private readonly youngCapacity: number;
  private readonly fading: number;
  private departures = first.departures;
  private returns = first.returns;

  constructor(slotCount: number) {
    this.capacity = slotCount * patiencePerSlot;
    this.youngCapacity = slotCount * gracePerSlot;
    this.fading = 1 - 1 / Math.max(fewestRemembered, slotCount);
  }

  /** Expected share of leaving caches that are asked for again. */
  get rate(): number {
    return Math.min(1, Math.max(lowestRate, this.returns / this.departures));
  }

  /** A cache leaves its slot. @param commonTokens how many of its first tokens others hold too */
  left(cacheSalt: string, tokens: Uint32Array, commonTokens: number): void {
    this.departures = this.departures * this.fading + graceWeight;
    this.returns *= this.fading;
    const ghost = { tokensToMatch: (commonTokens + tokens.length) / 2 };
    this.ghosts.insert(cacheSalt, ghost, tokens);
    this.oldestFirst.add(ghost);
    this.youngOldestFirst.add(ghost);
    if (this.youngOldestFirst.size > this.youngCapacity) this.countInFull(firstOf(this.youngOldestFirst));
    if (this.oldestFirst.size > this.capacity) this.forget(firstOf(this.oldestFirst));
  }

  asked(cacheSalt: string, prompt: Uint32Array): void {
    for (const [ghost, shared] of this.ghosts.match(cacheSalt, prompt)) {
      if (shared <= ghost.tokensToMatch) continue;
      this.forget(ghost);
      this.returns += 1;
    }
  }

  private countInFull(ghost: Ghost): void {
    if (this.youngOldestFirst.delete(ghost)) this.departures += 1 - graceWeight;
  }

  private forget(ghost: Ghost): void {
    this.countInFull(ghost);
    this.oldestFirst.delete(ghost);
    this.ghosts.remove(ghost);
  }
}

function firstOf(ghosts: ReadonlySet<Ghost>): Ghost {
  return ghosts.values().next().value!;
}
