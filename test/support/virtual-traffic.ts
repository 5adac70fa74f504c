import type { SequenceSpec, SlotOperation, TickPlan, TickResult } from '../../scheduler/index.js';
import { Scheduler } from '../../scheduler/scheduler.js';
import { SeededRandom } from './seeded-random.js';

export interface VirtualTraffic {
  slots: number;
  clients: number;
  seconds: number;
  /** Prompts of a conversation before it starts again; 1: nobody ever comes back. */
  turns: number;
  /** Requests that nobody continues before the conversations begin; not counted in tokens. */
  oneShotsFirst?: number;
  openingTokens: number;
  userTokens: number;
  replyTokens: number;
  /** First tokens that everybody sends. */
  sharedTokens?: number;
  meanThinkMs: number;
  /** How many times slower files are than the scheduler was told; by save or restore, from the first one on. */
  fileFactor: (operation: number) => number;
  seed: number;
}

export interface TrafficFigures {
  requests: number;
  /** Of all requests: prompt tokens computed, and what a cache that never forgets would have computed. */
  computedTokens: number;
  idealTokens: number;
  saves: number;
  restores: number;
  /** Share of the time that went into saves and restores. */
  fileShare: number;
  snapshotsNow: number;
  tokensPerSecond: number;
}

interface Client {
  readyMs: number;
  turn: number;
  history: number[];
  reusable: number;
}

/** About SmolLM2-135M on two cores. */
const cost = { passMs: 8, promptTokenMs: 1.2, rowMs: 1.6, saveMs: 3, restoreMs: 1.5 };
const bytesPerToken = 23_040;

/** Clients that talk to a real scheduler on a clock of its own. */
export function holdTraffic(traffic: VirtualTraffic): TrafficFigures {
  return new Talk(traffic).hold();
}

class Talk {
  private readonly traffic: VirtualTraffic;
  private readonly random: SeededRandom;
  private readonly scheduler: Scheduler;
  private readonly clients: Client[];
  private readonly underWay = new Map<number, Client>();
  private readonly counts = { requests: 0, computedTokens: 0, idealTokens: 0, saves: 0, restores: 0 };
  private fileMs = 0;
  private sampledTokens = 0;
  private nextToken = 1000;
  private nextId = 1;
  private nowMs = 0;

  constructor(traffic: VirtualTraffic) {
    this.traffic = traffic;
    this.random = new SeededRandom(traffic.seed);
    this.scheduler = new Scheduler({
      slotCount: traffic.slots,
      contextTokens: 1024,
      batchTokens: 512,
      maxWaiting: traffic.clients,
      maxWaitingTokens: 1e9,
      endTokens: new Set(),
      snapshotBytes: 8e9,
      snapshotBytesPerToken: bytesPerToken,
      operationCosts: { copyMs: 8, fileMs: 1, saveMsPerToken: 0.015, restoreMsPerToken: 0.009 },
    });
    this.clients = Array.from({ length: traffic.clients }, () => {
      return { readyMs: 0, turn: 0, history: [], reusable: 0 };
    });
  }

  hold(): TrafficFigures {
    while (this.nowMs < this.traffic.seconds * 1000) {
      for (const client of this.clients) if (client.readyMs <= this.nowMs) this.ask(client);
      const { plan } = this.scheduler.planTick(this.nowMs);
      if (plan) this.tick(plan);
      else this.nowMs = Math.min(...this.clients.map(({ readyMs }) => readyMs));
    }
    return {
      ...this.counts,
      fileShare: this.fileMs / this.nowMs,
      snapshotsNow: this.scheduler.stats().cache.snapshots,
      tokensPerSecond: (1000 * this.sampledTokens) / this.nowMs,
    };
  }

  private ask(client: Client): void {
    const { turns, sharedTokens = 0, openingTokens, userTokens } = this.traffic;
    if (client.turn % turns === 0 || this.isBefore) client.turn = 0;
    if (client.turn === 0) {
      const shared = Array.from({ length: sharedTokens }, (_, index) => index + 1);
      client.history = [...shared, ...this.draw(openingTokens)];
      client.reusable = sharedTokens;
    } else client.history.push(...this.draw(userTokens));
    client.turn += 1;
    client.readyMs = Number.POSITIVE_INFINITY;
    this.underWay.set(this.nextId, client);
    this.scheduler.submit([this.specOf(client)], this.nowMs);
    this.nextId += 1;
  }

  /** The conversations have not begun. */
  private get isBefore(): boolean {
    return this.counts.requests < (this.traffic.oneShotsFirst ?? 0);
  }

  private specOf({ history }: Client): SequenceSpec {
    return {
      id: this.nextId,
      prompt: Uint32Array.from(history),
      maxTokens: this.traffic.replyTokens,
      ignoreEndToken: true,
      priorityClass: 'interactive',
      tenant: 'anonymous',
      cacheSalt: '',
      deadlineMs: null,
    };
  }

  private tick(plan: TickPlan): void {
    for (const event of this.scheduler.applyTick(this.execute(plan))) {
      if (event.type === 'token') this.underWay.get(event.sequenceId)!.history.push(event.token);
      else if (event.type === 'finished')
        this.answered(this.underWay.get(event.sequenceId)!, event.cachedTokens);
    }
  }

  private execute({ operations, rows, work }: TickPlan): TickResult {
    const fileMs = operations.reduce((sum, { kind }) => sum + this.fileOperationMs(kind), 0);
    const sampled = rows.filter(({ sample }) => sample).length;
    const decodeMs =
      cost.passMs * work.passes + cost.promptTokenMs * (work.tokens - sampled) + cost.rowMs * sampled;
    this.nowMs += fileMs + decodeMs;
    this.fileMs += fileMs;
    this.sampledTokens += sampled;
    const saves = operations.flatMap((each) =>
      each.kind === 'save' ? { snapshotId: each.snapshotId, bytes: each.tokens.length * bytesPerToken } : [],
    );
    const sampledTokens = rows.map(({ sample }) => (sample ? this.draw(1)[0]! : -1));
    return { outcome: 'decoded', sampledTokens, decodeMs, saves, fileMs };
  }

  private fileOperationMs(kind: SlotOperation['kind']): number {
    if (kind !== 'save' && kind !== 'restore') return 0;
    const factor = this.traffic.fileFactor(this.counts.saves + this.counts.restores);
    this.counts[kind === 'save' ? 'saves' : 'restores'] += 1;
    return factor * (kind === 'save' ? cost.saveMs : cost.restoreMs);
  }

  private answered(client: Client, cachedTokens: number): void {
    const promptTokens = client.history.length - this.traffic.replyTokens;
    this.counts.requests += 1;
    if (!this.isBefore) {
      this.counts.computedTokens += promptTokens - cachedTokens;
      this.counts.idealTokens += promptTokens - client.reusable;
    }
    // The last token was sampled but never computed.
    client.reusable = client.history.length - 1;
    client.readyMs = this.nowMs - this.traffic.meanThinkMs * Math.log(1 - this.random.next());
  }

  private draw(count: number): number[] {
    return Array.from({ length: count }, () => this.nextToken++);
  }
}
