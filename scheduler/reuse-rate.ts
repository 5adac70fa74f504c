import { PrefixIndex } from './prefix-index.js';

/** Nothing was learned yet: parking is cheap, computing again is not. */
const firstRate = 0.5;
/** However rarely caches were asked for lately, the next one may be. */
const lowestRate = 0.02;
/** Weight of one cache that was asked for again, or was not. */
const weight = 0.05;
/** A cache that is not asked for while this many others leave each slot will not be asked for. */
const patiencePerSlot = 16;

/** The tokens of a cache that has left its slot, whether it was parked or dropped. */
interface Ghost {
  /** The prompt must have more in common with it than this to be the same conversation. */
  readonly tokensToMatch: number;
}

/**
 * How often a cache that had to leave its slot is asked for again: whether parking pays. It remembers the tokens of
 * those that left (without their KV), as the ghost lists of ARC do (Megiddo & Modha, 2003).
 */
export class ReuseRate {
  private readonly ghosts = new PrefixIndex<Ghost>();
  private readonly oldestFirst = new Set<Ghost>();
  private readonly capacity: number;
  private observed = firstRate;

  constructor(slotCount: number) {
    this.capacity = slotCount * patiencePerSlot;
  }

  /** Expected share of leaving caches that are asked for again. */
  get rate(): number {
    return Math.max(lowestRate, this.observed);
  }

  /** A cache leaves its slot. @param commonTokens how many of its first tokens others hold too */
  left(cacheSalt: string, tokens: Uint32Array, commonTokens: number): void {
    const ghost = { tokensToMatch: (commonTokens + tokens.length) / 2 };
    this.ghosts.insert(cacheSalt, ghost, tokens);
    this.oldestFirst.add(ghost);
    if (this.oldestFirst.size <= this.capacity) return;
    for (const oldest of this.oldestFirst) {
      this.resolve(oldest, 0);
      return;
    }
  }

  asked(cacheSalt: string, prompt: Uint32Array): void {
    for (const [ghost, shared] of this.ghosts.match(cacheSalt, prompt)) {
      if (shared > ghost.tokensToMatch) this.resolve(ghost, 1);
    }
  }

  private resolve(ghost: Ghost, outcome: 0 | 1): void {
    this.oldestFirst.delete(ghost);
    this.ghosts.remove(ghost);
    this.observed += weight * (outcome - this.observed);
  }
}
