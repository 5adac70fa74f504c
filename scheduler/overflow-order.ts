import { generatedTokenWeight, promptTokenWeight } from './fair-share.js';
import { type PriorityClass, priorityClasses } from './sequence-spec.js';

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

  /** Nobody waits: idle time earns and costs nothing. */
  reset(): void {
    this.clocks.clear();
  }

  private clock(priorityClass: PriorityClass): ClassClock {
    const known = this.clocks.get(priorityClass);
    if (known) return known;
    const clock: ClassClock = { virtualTime: 0, finishByTenant: new Map() };
    this.clocks.set(priorityClass, clock);
    return clock;
  }
}

/** Where a request stands in the overflow store: class first, then virtual start time, then arrival. */
export interface OverflowPlace {
  readonly priorityClass: PriorityClass;
  readonly start: number;
  readonly arrival: number;
}

/** The order of an overflow store: by class, inside a class fair between tenants, inside a tenant by arrival. */
export class OverflowQueue<Item> {
  private readonly waiting = new Map<string, { place: OverflowPlace; item: Item }>();
  private readonly promised = new Set<string>();
  private readonly startTimes = new StartTimes();
  private arrivals = 0;

  get size(): number {
    return this.waiting.size;
  }

  entries(): IterableIterator<[string, { place: OverflowPlace; item: Item }]> {
    return this.waiting.entries();
  }

  /** Places that are taken: by those that wait, and by those on their way. */
  get claimed(): number {
    return this.waiting.size + this.promised.size;
  }

  /**
   * Promises a place, until `add` or `delete`: the way to a shared store takes time, and others come meanwhile.
   * @param cost what `overflowCost` says
   */
  place(id: string, priorityClass: PriorityClass, tenant: string, cost: number): OverflowPlace {
    if (this.claimed === 0) this.startTimes.reset();
    this.promised.add(id);
    this.arrivals += 1;
    return {
      priorityClass,
      start: this.startTimes.enter(priorityClass, tenant, cost),
      arrival: this.arrivals,
    };
  }

  /** Waits from now on, or again: whoever was put back keeps its place. */
  add(id: string, place: OverflowPlace, item: Item): void {
    this.promised.delete(id);
    this.waiting.set(id, { place, item });
  }

  /** @returns whether it was waiting */
  delete(id: string): boolean {
    this.promised.delete(id);
    return this.waiting.delete(id);
  }

  /** Takes the first one out; it counts as served. */
  take(): { id: string; place: OverflowPlace; item: Item } | null {
    let first: { id: string; place: OverflowPlace; item: Item } | null = null;
    for (const [id, { place, item }] of this.waiting) {
      if (first === null || precedes(place, first.place)) first = { id, place, item };
    }
    if (first === null) return null;
    this.waiting.delete(first.id);
    this.startTimes.served(first.place.priorityClass, first.place.start);
    return first;
  }
}

function precedes(left: OverflowPlace, right: OverflowPlace): boolean {
  if (left.priorityClass !== right.priorityClass) {
    return priorityClasses.indexOf(left.priorityClass) < priorityClasses.indexOf(right.priorityClass);
  }
  if (left.start !== right.start) return left.start < right.start;
  return left.arrival < right.arrival;
}
