import {
  Scheduler,
  type SchedulerEvent,
  type SchedulingPolicy,
  type SequenceSpec,
  type TickPlan,
  throughputFirst,
} from '../../scheduler/index.js';
import { type CallCost, expectedMs, featuresOf, noiseFactor } from '../../src/serving/call-cost.js';
import type { Random } from '../load/random.js';

/** One server process with its own model. */
export interface WorkerShape {
  slots: number;
  contextTokens: number;
  batchTokens: number;
  /** What the scheduler aims for; null: automatic, 0: throughput first. */
  itlTargetMs: number | null;
  cost: CallCost;
}

export interface PlannedRequest {
  promptTokens: number;
  outputTokens: number;
  /** First tokens of the prompt that all requests of a family share; 0: none. */
  sharedTokens: number;
  family: number;
}

export type Load =
  | { kind: 'open'; arrivalsMs: readonly number[] }
  /** Each client asks again when it has its answer, until `untilMs`. */
  | { kind: 'closed'; clients: number; untilMs: number };

export interface FleetOptions {
  worker: WorkerShape;
  workers: number;
  load: Load;
  draw: (index: number) => PlannedRequest;
  random: Random;
  /** Looks at every finished request; false ends the simulation. */
  goOn?: (outcome: RequestOutcome) => boolean;
}

/** Times in milliseconds of simulated time. */
export interface RequestOutcome {
  arrivalMs: number;
  /** null: refused, or does not fit the window. */
  tokenTimesMs: number[] | null;
  promptTokens: number;
}

const fillerToken = 7;

/** Several servers behind a balancer that picks the least busy one, each ticking on its own, all in simulated time. */
class Fleet {
  readonly outcomes: RequestOutcome[] = [];
  private readonly options: FleetOptions;
  private readonly workers: PlannedWorker[];
  private nextArrival = 0;
  private drawn = 0;
  private isEnded = false;

  constructor(options: FleetOptions) {
    this.options = options;
    const { workers, worker, random } = options;
    this.workers = Array.from({ length: workers }, () => new PlannedWorker(worker, random));
  }

  run(): RequestOutcome[] {
    const { load } = this.options;
    if (load.kind === 'closed') for (let client = 0; client < load.clients; client += 1) this.arrive(0);
    while (!this.isEnded) {
      const arrivalMs = load.kind === 'open' ? load.arrivalsMs[this.nextArrival] : undefined;
      const worker = this.workers.reduce((first, each) => (each.endMs < first.endMs ? each : first));
      if (arrivalMs !== undefined && arrivalMs <= worker.endMs) {
        this.nextArrival += 1;
        this.arrive(arrivalMs);
      } else if (worker.endMs < Number.POSITIVE_INFINITY) this.endTick(worker);
      else return this.outcomes;
    }
    return this.outcomes;
  }

  private arrive(nowMs: number): void {
    const request = this.options.draw(this.drawn);
    this.drawn += 1;
    const outcome: RequestOutcome = {
      arrivalMs: nowMs,
      tokenTimesMs: [],
      promptTokens: request.promptTokens,
    };
    this.outcomes.push(outcome);
    const worker = this.workers.reduce((least, each) => (each.live < least.live ? each : least));
    if (worker.submit(request, outcome, this.drawn, nowMs)) worker.wake(nowMs);
    else {
      outcome.tokenTimesMs = null;
      this.finished(outcome);
    }
  }

  private endTick(worker: PlannedWorker): void {
    const nowMs = worker.endMs;
    const { load } = this.options;
    for (const outcome of worker.endTick()) {
      this.finished(outcome);
      if (load.kind === 'closed' && nowMs < load.untilMs) this.arrive(nowMs);
    }
    worker.wake(nowMs);
  }

  private finished(outcome: RequestOutcome): void {
    if (this.options.goOn?.(outcome) === false) this.isEnded = true;
  }
}

class PlannedWorker {
  /** When the tick in flight ends, or is held no longer; infinite when idle. */
  endMs = Number.POSITIVE_INFINITY;
  live = 0;
  private readonly shape: WorkerShape;
  private readonly scheduler: Scheduler;
  private readonly random: Random;
  private readonly outcomes = new Map<number, RequestOutcome>();
  private plan: TickPlan | null = null;
  private tickMs = 0;

  constructor(shape: WorkerShape, random: Random) {
    this.shape = shape;
    this.random = random;
    const { slots, contextTokens, batchTokens, itlTargetMs } = shape;
    const policy: SchedulingPolicy = { ...throughputFirst, itlTargetMs };
    this.scheduler = new Scheduler(
      {
        slotCount: slots,
        contextTokens,
        batchTokens: Math.max(batchTokens, slots),
        maxWaiting: 100_000,
        maxWaitingTokens: Number.MAX_SAFE_INTEGER,
        endTokens: new Set(),
      },
      policy,
    );
  }

  submit(request: PlannedRequest, outcome: RequestOutcome, id: number, nowMs: number): boolean {
    const spec: SequenceSpec = {
      id,
      prompt: promptOf(request, id),
      maxTokens: request.outputTokens,
      ignoreEndToken: true,
      priorityClass: 'interactive',
      tenant: 'all',
      cacheSalt: '',
      deadlineMs: null,
    };
    if (this.scheduler.submit([spec], nowMs)) return false;
    this.outcomes.set(id, outcome);
    this.live += 1;
    return true;
  }

  /** Begins a tick, or holds it, unless one is in flight. */
  wake(nowMs: number): void {
    if (this.plan) return;
    const { plan, holdMs } = this.scheduler.planTick(nowMs);
    this.plan = plan;
    this.endMs = holdMs > 0 ? nowMs + holdMs : Number.POSITIVE_INFINITY;
    if (!plan) return;
    const { cost } = this.shape;
    const callMs = expectedMs(cost, featuresOf(plan));
    this.tickMs = callMs * this.noise(callMs);
    this.endMs = nowMs + this.tickMs;
  }

  private noise(callMs: number): number {
    const { noise, noiseSigma } = this.shape.cost;
    if (noise) return noiseFactor(noise, callMs, this.random.next());
    return noiseSigma === 0 ? 1 : Math.exp(noiseSigma * this.random.normal());
  }

  /** @returns the requests that ended */
  endTick(): RequestOutcome[] {
    if (!this.plan) return [];
    const nowMs = this.endMs;
    const sampledTokens = this.plan.rows.map((row) => (row.sample ? fillerToken : -1));
    this.plan = null;
    const events = this.scheduler.applyTick({
      outcome: 'decoded',
      sampledTokens,
      decodeMs: Math.max(0, this.tickMs - this.shape.cost.perTickMs),
    });
    return events.flatMap((event) => this.take(event, nowMs));
  }

  private take(event: SchedulerEvent, nowMs: number): RequestOutcome[] {
    const outcome = this.outcomes.get(event.sequenceId)!;
    if (event.type === 'token') outcome.tokenTimesMs!.push(nowMs);
    if (event.type !== 'finished') return [];
    this.outcomes.delete(event.sequenceId);
    this.live -= 1;
    return [outcome];
  }
}

/** Different from its first own token on, so that nothing but the family's prefix is ever reused. */
function promptOf({ promptTokens, sharedTokens, family }: PlannedRequest, id: number): Uint32Array {
  const prompt = new Uint32Array(promptTokens).fill(fillerToken);
  const shared = Math.min(sharedTokens, promptTokens - 1);
  if (shared > 0) prompt[0] = 1_000_000 + family;
  prompt[shared] = 2_000_000 + id;
  return prompt;
}

export function simulateFleet(options: FleetOptions): RequestOutcome[] {
  return new Fleet(options).run();
}
