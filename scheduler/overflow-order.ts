import { generatedTokenWeight, promptTokenWeight } from './fair-share.js';
import type { PriorityClass } from './sequence-spec.js';
import { nextClass } from './waiting-queue.js';

/** Tokens of weighted service in one step of virtual time. */
const tokensPerStep = 256;
const charactersPerToken = 4;

/** What a request will probably cost its tenant, in whole steps of virtual time, at least 1. */
export function overflowCost(request: {
  promptTokens: number;
  /** Of prompts that are not tokenised yet. */
  promptCharacters: number;
  choices: number;
  maxTokens: number;
}): number {
  const promptTokens = request.promptTokens + request.promptCharacters / charactersPerToken;
  const weighted =
    promptTokenWeight * promptTokens + generatedTokenWeight * request.choices * request.maxTokens;
  return Math.max(1, Math.ceil(weighted / tokensPerStep));
}

interface ClassClock {
  virtualTime: number;
  finishByTenant: Map<string, number>;
}

/**
 * Order between tenants in a store that cannot see whom it serves: start-time fair queueing (Goyal, Vin and Cheng,
 * SIGCOMM 1996). A request starts at the later of "now" and the end of its tenant's previous one; earliest start first.
 */
export class StartTimes {
  private readonly clocks = new Map<PriorityClass, ClassClock>();

  /** @returns the virtual time at which the request should start */
  enter(priorityClass: PriorityClass, tenant: string, cost: number): number {
    const clock = this.clock(priorityClass);
    const start = Math.max(clock.virtualTime, clock.finishByTenant.get(tenant) ?? 0);
    clock.finishByTenant.set(tenant, start + cost);
    return start;
  }

  /** A request that should start at `start` is being served. */
  served(priorityClass: PriorityClass, start: number): void {
    const clock = this.clock(priorityClass);
    clock.virtualTime = Math.max(clock.virtualTime, start);
  }

  /**
   * Nobody waits: idle time earns and costs nothing, so all tenants are equal again. Time never goes back: whoever was
   * served and waits again must still start before those of its tenant that come now.
   */
  forgetDebts(): void {
    for (const clock of this.clocks.values()) {
      clock.virtualTime = Math.max(clock.virtualTime, ...clock.finishByTenant.values());
      clock.finishByTenant.clear();
    }
  }

  private clock(priorityClass: PriorityClass): ClassClock {
    const known = this.clocks.get(priorityClass);
    if (known) return known;
    const clock: ClassClock = { virtualTime: 0, finishByTenant: new Map() };
    this.clocks.set(priorityClass, clock);
    return clock;
  }
}

/** Where a request stands in the overflow store: in its class by virtual start time, then by arrival. */
export interface OverflowPlace {
  readonly priorityClass: PriorityClass;
  readonly start: number;
  readonly arrival: number;
  readonly arrivedAtMs: number;
}

/**
 * The order of an overflow store: by class with the ageing of the line for slots, inside a class fair between tenants,
 * inside a tenant by arrival. `src/overflow/queue-scripts.ts` does the same in Redis.
 */
export class OverflowQueue<Item> {
  private readonly waiting = new Map<string, { place: OverflowPlace; item: Item }>();
  private readonly startTimes = new StartTimes();
  private arrivals = 0;

  get size(): number {
    return this.waiting.size;
  }

  entries(): IterableIterator<[string, { place: OverflowPlace; item: Item }]> {
    return this.waiting.entries();
  }

  /** @param cost what `overflowCost` says. @returns a place, to be taken by `add` */
  place(priorityClass: PriorityClass, tenant: string, cost: number, arrivedAtMs: number): OverflowPlace {
    if (this.size === 0) this.startTimes.forgetDebts();
    this.arrivals += 1;
    return {
      priorityClass,
      start: this.startTimes.enter(priorityClass, tenant, cost),
      arrival: this.arrivals,
      arrivedAtMs,
    };
  }

  /** Waits from now on, or again: whoever was put back keeps its place. */
  add(id: string, place: OverflowPlace, item: Item): void {
    this.waiting.set(id, { place, item });
  }

  /** @returns whether it was waiting */
  delete(id: string): boolean {
    return this.waiting.delete(id);
  }

  /** Takes the first one out; it counts as served. */
  take(): { id: string; place: OverflowPlace; item: Item } | null {
    const priorityClass = this.nextClass();
    let first: { id: string; place: OverflowPlace; item: Item } | null = null;
    for (const [id, { place, item }] of this.waiting) {
      if (place.priorityClass !== priorityClass) continue;
      if (first === null || precedes(place, first.place)) first = { id, place, item };
    }
    if (first === null) return null;
    this.waiting.delete(first.id);
    this.startTimes.served(first.place.priorityClass, first.place.start);
    return first;
  }

  protected nextClass(): PriorityClass | null {
    const oldestMs = new Map<PriorityClass, number>();
    for (const { place } of this.waiting.values()) {
      const { priorityClass, arrivedAtMs } = place;
      oldestMs.set(priorityClass, Math.min(arrivedAtMs, oldestMs.get(priorityClass) ?? arrivedAtMs));
    }
    return nextClass((name) => oldestMs.get(name));
  }
}

function precedes(left: OverflowPlace, right: OverflowPlace): boolean {
  return left.start === right.start ? left.arrival < right.arrival : left.start < right.start;
}
