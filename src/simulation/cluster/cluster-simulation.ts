import { drawGapMs, drawRequest } from '../draw-request.js';
import { EventLog } from '../event-log.js';
import { Random } from '../random.js';
import { type RunOptions, type RunReport, runToEnd } from '../run.js';
import { Timeline } from '../timeline.js';
import { require } from '../violation.js';
import { ClusterLedger, type RequestEntry } from './cluster-ledger.js';
import { ClusterNode } from './cluster-node.js';
import { ClusterOrder } from './cluster-order.js';
import { type ClusterRules, realRules } from './cluster-rules.js';
import { type ClusterFault, type ClusterScenario, drawClusterFaults } from './cluster-scenario.js';
import type { Environment } from './environment.js';
import { LineAndStore } from './line-and-store.js';
import { SimulatedRedis } from './simulated-redis.js';
import type { Network } from './store-connection.js';

/** Ticks are those of both workers together. */
export interface ClusterOptions extends RunOptions {
  rules?: ClusterRules;
}

export interface ClusterReport extends RunReport<ClusterScenario> {
  endings: ReadonlyMap<string, number>;
  stored: number;
  retries: number;
  switches: number;
}

/** More requests say nothing new, they are refused. */
const requestsPerTick = 2;
const slowness = 10;
/** Without a tick, in the longest of the store's times, before it counts as stuck. */
const mostSilences = 12;
/** Ticks for everything to end after the last fault: this many times the tokens that are due, and as many ticks. */
const ticksPerToken = 3;
const spareTicks = 100;

class ClusterSimulation {
  private readonly scenario: ClusterScenario;
  private readonly options: ClusterOptions;
  private readonly timeline = new Timeline();
  private readonly network: Network = { state: 'up', slowness: 1 };
  private readonly log: EventLog;
  private readonly ledger: ClusterLedger;
  private readonly order: ClusterOrder;
  private readonly lineAndStore: LineAndStore;
  private readonly environment: Environment;
  private readonly nodes: (ClusterNode | null)[];
  private readonly requests: string[] = [];
  private readonly faults: string[] = [];
  private lives = 0;
  private tick = 0;
  private isCalm = false;
  private calmAtTick = 0;
  private calmAtMs = 0;
  private lastTickMs = 0;
  private idleSinceMs: number | null = null;
  private duesAtCalm = 0;
  private stored = 0;
  private retries = 0;

  constructor(scenario: ClusterScenario, options: ClusterOptions) {
    const { worker, times, hasGateway, maxOverflow } = scenario;
    const rules = options.rules ?? realRules;
    this.scenario = scenario;
    this.options = options;
    this.log = new EventLog(options.keepsLog ?? false);
    this.ledger = new ClusterLedger(this.timeline, worker.meanLengthTokens);
    this.ledger.onLog = (kind, values) => this.log.add(this.timeline.nowMs, kind, values);
    this.ledger.onAbandon = (entry) => this.nodeOf(entry)?.abort(entry.request.label);
    this.ledger.onToken = (entry, count) => {
      const { leaving } = entry.request;
      if (leaving.when === 'after-tokens' && count >= leaving.count) {
        this.timeline.after(0, () => this.leave(entry.request.label));
      }
    };
    this.order = new ClusterOrder(scenario, this.ledger, this.timeline);
    const { order } = this;
    const redis = new SimulatedRedis(this.timeline, times, maxOverflow, rules, {
      added: (job, isNew) => {
        this.stored += 1;
        this.note('store', [job.request.label, job.place.start]);
        order.added(job, isNew);
      },
      taken: (job, workerId) => {
        if (job.stalls > 0) this.retries += 1;
        this.note('take', [job.request.label, workerId, job.stalls]);
        order.taken(job);
      },
      putBack: (job) => {
        this.note('put-back', [job.request.label]);
        order.putBack(job);
      },
      removed: (job) => order.removed(job),
    });
    redis.publish = (channel, message, frame) => {
      for (const node of this.nodes) {
        node?.connection.hear(node.alive(() => node.hear(channel, message, frame)));
      }
    };
    this.lineAndStore = new LineAndStore(scenario, this.network, redis);
    this.environment = {
      scenario,
      timeline: this.timeline,
      network: this.network,
      redis,
      rules,
      ledger: this.ledger,
      order,
      lineAndStore: this.lineAndStore,
      onTick: () => this.countTick(),
    };
    this.nodes = [];
    for (let index = 0; index < (hasGateway ? 3 : 2); index += 1) this.nodes.push(this.start(index));
  }

  run(): ClusterReport {
    const ending = runToEnd(
      () => {
        this.scheduleArrival(1);
        this.scheduleFaults(1);
        while (!this.isOver()) this.timeline.runNext();
      },
      this.log,
      this.timeline,
    );
    return {
      ...ending,
      scenario: this.scenario,
      tick: this.tick,
      requests: this.requests,
      faults: this.faults,
      tokens: this.ledger.tokens,
      endings: this.ledger.endings,
      stored: this.stored,
      retries: this.retries,
      switches: this.lineAndStore.switches,
    };
  }

  private start(index: number): ClusterNode {
    this.lives += 1;
    const name = index === 2 ? 'gateway' : `worker-${index + 1}`;
    return new ClusterNode(`${name}.${this.lives}`, index < 2, this.environment);
  }

  private note(kind: string, values: (string | number)[]): void {
    this.log.add(this.timeline.nowMs, kind, values);
  }

  private countTick(): void {
    this.tick += 1;
    this.lastTickMs = this.timeline.nowMs;
  }

  private isOver(): boolean {
    const { times } = this.scenario;
    const { nowMs } = this.timeline;
    const isTimeUp =
      this.tick >= this.options.ticks ||
      this.requests.length >= this.options.ticks * requestsPerTick ||
      nowMs > this.options.ticks * times.tickMs * 8;
    if (!this.isCalm && isTimeUp) this.calm();
    if (!this.isCalm || this.nodes.includes(null)) return false;
    if (this.ledger.unfinished === 0 && this.environment.redis.isEmpty) return this.isIdle();
    this.idleSinceMs = null;
    const mostTicks = spareTicks + ticksPerToken * this.duesAtCalm;
    require(this.tick - this.calmAtTick <= mostTicks, 'liveness', () =>
      `after ${mostTicks} ticks without faults ${this.ledger.unfinished} requests have not ended`);
    const longestMs = Math.max(times.goneMs, times.lockMs * 2, times.auditMs, times.commandTimeoutMs);
    const sinceMs = nowMs - Math.max(this.lastTickMs, this.calmAtMs);
    require(sinceMs <= mostSilences * longestMs, 'liveness', () => {
      const left = [...this.ledger.entries.values()].filter(({ ending }) => ending === null);
      const { redis } = this.environment;
      return `nothing happens, but ${left.map(({ request }) => request.label)} have not ended; store: ${redis.describe()}; ${this.nodes.map((node) => node!.leftovers())}`;
    });
    return false;
  }

  /** Nobody wants anything any more: nothing may be left of it. */
  private isIdle(): boolean {
    const { nowMs } = this.timeline;
    // The last answer of the store may still be on its way to whoever had the last job.
    this.idleSinceMs ??= nowMs;
    if (nowMs - Math.max(this.idleSinceMs, this.lastTickMs) < this.scenario.times.auditMs * 2) return false;
    for (const node of this.nodes) {
      const left = node!.leftovers();
      require(left === '', 'leaves-nothing', () => `${node!.id}: ${left}`);
    }
    return true;
  }

  private calm(): void {
    this.isCalm = true;
    this.calmAtTick = this.tick;
    this.calmAtMs = this.timeline.nowMs;
    this.network.state = 'up';
    this.network.slowness = 1;
    for (const node of this.nodes) if (node && !node.isReachable) node.resume();
    const { redis } = this.environment;
    for (const { request, ending } of this.ledger.entries.values()) {
      // Of a process that died, what others run until they know.
      if (ending === null || (ending === 'cut' && redis.has(request.label)))
        this.duesAtCalm += request.choices * (request.maxTokens + request.prompt.length);
    }
    this.note('calm', [this.ledger.unfinished]);
  }

  private scheduleArrival(index: number): void {
    this.timeline.after(drawGapMs(this.scenario.worker, index), () => {
      if (this.isCalm) return;
      if (this.options.keepRequest?.(String(index)) ?? true) this.arrive(String(index));
      this.scheduleArrival(index + 1);
    });
  }

  private arrive(label: string): void {
    const { seed, worker } = this.scenario;
    const request = drawRequest(worker, label, new Uint32Array(0));
    const node = new Random(seed, `entry ${label}`).pick(this.nodes);
    if (node === null || !node.isReachable) return;
    this.requests.push(label);
    this.ledger.arrive(request, node.id);
    node.submit(request);
    const { leaving } = request;
    if (leaving.when === 'at-once') this.leave(label);
    else if (leaving.when === 'after-time') this.timeline.after(leaving.delayMs, () => this.leave(label));
  }

  private leave(label: string): void {
    const entry = this.ledger.entries.get(label)!;
    const node = this.nodeOf(entry);
    // Whoever leaves a process that is stopped is missed when it goes on.
    node?.alive(() => {
      if (this.ledger.leave(label)) node.abort(label);
    })();
  }

  private nodeOf({ nodeId }: RequestEntry): ClusterNode | undefined {
    return this.nodes.find((node) => node?.id === nodeId) ?? undefined;
  }

  private scheduleFaults(stretch: number): void {
    this.timeline.after(this.scenario.times.faultGapMs, () => {
      if (this.isCalm) return;
      for (const fault of drawClusterFaults(this.scenario, stretch)) {
        if (!(this.options.keepFault?.(fault.name) ?? true)) continue;
        this.faults.push(fault.name);
        this.note('fault', [fault.name, Math.round(fault.durationMs)]);
        this.strike(fault);
      }
      this.scheduleFaults(stretch + 1);
    });
  }

  private strike({ kind, draw, durationMs }: ClusterFault): void {
    const { times } = this.scenario;
    const worker = draw % 2;
    switch (kind) {
      case 'store-down':
      case 'store-silent':
        this.network.state = kind === 'store-down' ? 'refusing' : 'silent';
        this.ledger.hasExcuse ||= durationMs > times.goneMs / 2;
        this.timeline.after(durationMs, () => {
          this.network.state = 'up';
        });
        return;
      case 'slow-store':
        this.network.slowness = slowness;
        this.timeline.after(durationMs, () => {
          this.network.slowness = 1;
        });
        return;
      case 'worker-paused':
        this.pause(worker, durationMs);
        return;
      case 'worker-killed':
        this.ledger.workerDeaths += 1;
        this.kill(worker);
        return;
      default:
        if (this.scenario.hasGateway) this.kill(2);
    }
  }

  private pause(index: number, durationMs: number): void {
    const node = this.nodes[index];
    if (!node?.isReachable) return;
    this.ledger.hasExcuse ||= durationMs > this.scenario.times.goneMs / 2;
    node.pause();
    this.timeline.after(durationMs, () => {
      if (!node.isReachable) node.resume();
    });
  }

  private kill(index: number): void {
    const node = this.nodes[index];
    if (!node) return;
    node.kill();
    this.ledger.cut(node.id);
    this.nodes[index] = null;
    this.timeline.after(this.scenario.times.restartMs, () => {
      this.nodes[index] = this.start(index);
    });
  }
}

/** @returns what happened; a violated invariant is part of the report, never thrown */
export function simulateCluster(scenario: ClusterScenario, options: ClusterOptions): ClusterReport {
  return new ClusterSimulation(scenario, options).run();
}
