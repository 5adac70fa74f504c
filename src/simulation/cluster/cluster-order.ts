import { classAgingMs, classRank, type PriorityClass } from '../../../scheduler/index.js';
import type { Timeline } from '../timeline.js';
import { require } from '../violation.js';
import type { ClusterLedger } from './cluster-ledger.js';
import type { ClusterScenario } from './cluster-scenario.js';
import type { StoredJob, StoredRequest, StoreObserver } from './simulated-redis.js';

/**
 * Between two tenants that both wait, what they were given may move by so many of their most costly requests:
 * start-time fair queueing allows one of each either way, and one of each may be on its way or put back.
 */
const fairRequests = 3;

/** Order, fairness and bounds of the store, seen from the store. */
export class ClusterOrder implements StoreObserver {
  private readonly scenario: ClusterScenario;
  private readonly ledger: ClusterLedger;
  private readonly timeline: Timeline;
  private readonly checksFairness: boolean;
  private readonly waiting = new Map<string, StoredJob>();
  /** Sent to the store by a process, which has not heard of a beginning or an end. */
  private readonly handedOn = new Map<string, StoredRequest>();
  /** Taken by a process into whose line it has yet to come, or which had no room for it. */
  private readonly underWay = new Map<string, { nodeId: string; job: StoredJob }>();
  private readonly costs = new Map<string, number>();
  private readonly given = new Map<string, number>();
  private readonly mostCostly = new Map<string, number>();
  private readonly pairs = new Map<string, { lowest: number; highest: number }>();
  /** Removed from the middle of the order, whose turns have not come. */
  private leavers: StoredJob[] = [];
  /** Of those that wait, never taken so far. */
  private readonly newcomers = new Set<string>();

  constructor(scenario: ClusterScenario, ledger: ClusterLedger, timeline: Timeline) {
    this.scenario = scenario;
    this.ledger = ledger;
    this.timeline = timeline;
    this.checksFairness = Object.values(scenario.faultShares).every((share) => share === 0);
  }

  /** A process sends a request to the store. */
  sent(stored: StoredRequest, cost: number): void {
    const { label, priorityClass, tenant } = stored.request;
    this.handedOn.set(label, stored);
    this.costs.set(label, cost);
    const account = accountOf(priorityClass, tenant);
    this.mostCostly.set(account, Math.max(cost, this.mostCostly.get(account) ?? 0));
  }

  /** A process takes a request into its own line while it believes that the store can be reached. */
  admittedDirectly(stored: StoredRequest): void {
    this.notOvertaken(stored, this.handedOn.values());
    this.entersLine(stored, stored.ownerId);
  }

  /** A process has got this job and brings it into its line. */
  leftStore(job: StoredJob, nodeId: string): void {
    this.underWay.set(job.request.label, { nodeId, job });
  }

  /** It came into that line, or there is nothing to do for it. Whom the line refused is still under way. */
  arrived(job: StoredJob, nodeId: string, isInLine: boolean): void {
    this.underWay.delete(job.request.label);
    if (isInLine) this.entersLine(job, nodeId);
  }

  /** A process hears that one of its requests, which somebody had begun with, waits again. */
  heardAgain(stored: StoredRequest): void {
    // Somebody may have taken it meanwhile.
    if (this.waiting.has(stored.request.label)) this.handedOn.set(stored.request.label, stored);
  }

  added(job: StoredJob, isNew: boolean): void {
    this.waiting.set(job.request.label, job);
    if (isNew) this.newcomers.add(job.request.label);
    require(this.newcomers.size <= this.scenario.maxOverflow, 'store-bound', () =>
      `${this.newcomers.size} requests wait in a store of ${this.scenario.maxOverflow}`);
    this.compare();
  }

  taken(job: StoredJob): void {
    const { label } = job.request;
    this.handedOn.delete(label);
    this.underWay.delete(label);
    if (!this.waiting.delete(label)) return;
    this.newcomers.delete(label);
    this.notOvertaken(job, this.waiting.values());
    this.notStarving(job);
    this.passLeavers(job);
    this.give(job, 1);
  }

  putBack(job: StoredJob): void {
    // Beyond the bound if need be: it was inside before.
    this.waiting.set(job.request.label, job);
    this.give(job, -1);
  }

  removed(job: StoredJob): void {
    if (!this.waiting.delete(job.request.label)) return;
    this.newcomers.delete(job.request.label);
    // Its tenant's virtual time stays as if it were served: it counts as given when its turn would have come.
    this.leavers.push(job);
    this.compare();
  }

  private entersLine(stored: StoredRequest, nodeId: string): void {
    const there = [...this.underWay.values()].filter((other) => other.nodeId === nodeId);
    this.notOvertaken(
      stored,
      there.map(({ job }) => job),
    );
  }

  private notOvertaken(later: StoredRequest, others: Iterable<StoredRequest>): void {
    const { request, ownerId } = later;
    const { rank } = this.ledger.entries.get(request.label)!;
    for (const other of others) {
      if (other.ownerId !== ownerId || other.request.tenant !== request.tenant) continue;
      if (other.request.priorityClass !== request.priorityClass) continue;
      const entry = this.ledger.entries.get(other.request.label)!;
      require(entry.ending !== null || entry.rank >= rank, 'no-overtaking', () =>
        `request ${request.label} overtakes ${other.request.label} of the same tenant, at ${this.timeline.nowMs}`);
    }
  }

  /** A class waits for a higher one until it is `classAgingMs` older, not longer. */
  private notStarving({ request, place }: StoredJob): void {
    const rank = classRank(request);
    const takenClass = [...this.waiting.values()].filter(
      ({ place: { priorityClass } }) => priorityClass === request.priorityClass,
    );
    const oldestMs = Math.min(place.arrivedAtMs, ...takenClass.map((job) => job.place.arrivedAtMs));
    for (const other of this.waiting.values()) {
      const lead = (classRank(other.place) - rank) * classAgingMs;
      require(oldestMs <= other.place.arrivedAtMs + lead, 'store-ageing', () =>
        `request ${request.label} is taken, ${other.request.label} of ${other.place.priorityClass} has waited since ${other.place.arrivedAtMs}`);
    }
  }

  private passLeavers({ request, place }: StoredJob): void {
    const { priorityClass } = request;
    this.leavers = this.leavers.filter((leaver) => {
      if (leaver.request.priorityClass !== priorityClass || leaver.place.start > place.start) return true;
      this.give(leaver, 1);
      return false;
    });
  }

  private give({ request }: StoredJob, sign: number): void {
    const account = accountOf(request.priorityClass, request.tenant);
    const cost = this.costs.get(request.label)!;
    this.given.set(account, (this.given.get(account) ?? 0) + sign * cost);
    this.compare();
  }

  private compare(): void {
    if (!this.checksFairness) return;
    if (this.waiting.size === 0) this.leavers = [];
    const accounts = [
      ...new Set(
        [...this.waiting.values()].map(({ request }) => accountOf(request.priorityClass, request.tenant)),
      ),
    ].sort();
    const stillWaiting = new Set<string>();
    accounts.forEach((left, index) => {
      for (const right of accounts.slice(index + 1)) {
        if (left[0] !== right[0]) continue;
        stillWaiting.add(`${left} ${right}`);
        this.comparePair(left, right);
      }
    });
    for (const pair of this.pairs.keys()) if (!stillWaiting.has(pair)) this.pairs.delete(pair);
  }

  private comparePair(left: string, right: string): void {
    const difference = (this.given.get(left) ?? 0) - (this.given.get(right) ?? 0);
    const known = this.pairs.get(`${left} ${right}`) ?? { lowest: difference, highest: difference };
    const lowest = Math.min(known.lowest, difference);
    const highest = Math.max(known.highest, difference);
    this.pairs.set(`${left} ${right}`, { lowest, highest });
    const bound = fairRequests * ((this.mostCostly.get(left) ?? 0) + (this.mostCostly.get(right) ?? 0));
    require(highest - lowest <= bound, 'store-fairness', () =>
      `${left} and ${right} both wait, and ${highest - lowest} steps separate them; at most ${bound}`);
  }
}

function accountOf(priorityClass: PriorityClass, tenant: string): string {
  return `${priorityClass[0]}/${tenant}`;
}
