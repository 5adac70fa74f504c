import type { SequenceSpec, TickPlan, TickResult } from '../../scheduler/index.js';
import { Scheduler } from '../../scheduler/scheduler.js';
import { SeededRandom } from './seeded-random.js';

export interface VirtualTraffic {
  slots: number;
  clients: number;
  seconds: number;
  /** Prompts of a conversation before it starts again; 1: nobody ever comes back. */
  turns: number;
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
  const random = new SeededRandom(traffic.seed);
  const { slots, clients, sharedTokens = 0 } = traffic;
  const scheduler = new Scheduler({
    slotCount: slots,
    contextTokens: 1024,
    batchTokens: 512,
    maxWaiting: clients,
    maxWaitingTokens: 1e9,
    endTokens: new Set(),
    snapshotBytes: 8e9,
    snapshotBytesPerToken: bytesPerToken,
    operationCosts: { copyMs: 8, fileMs: 1, saveMsPerToken: 0.015, restoreMsPerToken: 0.009 },
  });
  const people = Array.from(
    { length: clients },
    (): Client => ({ readyMs: 0, turn: 0, history: [], reusable: 0 }),
  );
  const underWay = new Map<number, Client>();
  const figures = {
    requests: 0,
    computedTokens: 0,
    idealTokens: 0,
    saves: 0,
    restores: 0,
    fileMs: 0,
    tokens: 0,
  };
  let nextToken = 1000;
  let nextId = 1;
  let nowMs = 0;
  const draw = (count: number) => Array.from({ length: count }, () => nextToken++);
  const ask = (client: Client): void => {
    const isFirst = client.turn % traffic.turns === 0;
    const shared = Array.from({ length: sharedTokens }, (_, index) => index + 1);
    client.history = isFirst
      ? [...shared, ...draw(traffic.openingTokens)]
      : [...client.history, ...draw(traffic.userTokens)];
    client.reusable = isFirst ? sharedTokens : client.reusable;
    const spec: SequenceSpec = {
      id: nextId,
      prompt: Uint32Array.from(client.history),
      maxTokens: traffic.replyTokens,
      ignoreEndToken: true,
      priorityClass: 'interactive',
      tenant: 'anonymous',
      cacheSalt: '',
      deadlineMs: null,
    };
    nextId += 1;
    client.turn += 1;
    client.readyMs = Number.POSITIVE_INFINITY;
    underWay.set(spec.id, client);
    scheduler.submit([spec], nowMs);
  };
  const answered = (client: Client, cachedTokens: number): void => {
    figures.requests += 1;
    const promptTokens = client.history.length - traffic.replyTokens;
    figures.computedTokens += promptTokens - cachedTokens;
    figures.idealTokens += promptTokens - client.reusable;
    client.reusable = client.history.length - 1;
    client.readyMs = nowMs - traffic.meanThinkMs * Math.log(1 - random.next());
  };
  const fileMsOf = (plan: TickPlan): number => {
    let fileMs = 0;
    for (const { kind } of plan.operations) {
      if (kind !== 'save' && kind !== 'restore') continue;
      const ordinal = figures.saves + figures.restores;
      figures[kind === 'save' ? 'saves' : 'restores'] += 1;
      fileMs += (kind === 'save' ? cost.saveMs : cost.restoreMs) * traffic.fileFactor(ordinal);
    }
    return fileMs;
  };
  const execute = (plan: TickPlan): TickResult => {
    const fileMs = fileMsOf(plan);
    const sampled = plan.rows.filter(({ sample }) => sample).length;
    const decodeMs =
      cost.passMs * plan.work.passes +
      cost.promptTokenMs * (plan.work.tokens - sampled) +
      cost.rowMs * sampled;
    nowMs += fileMs + decodeMs;
    figures.fileMs += fileMs;
    figures.tokens += sampled;
    const saves = plan.operations.flatMap((each) =>
      each.kind === 'save' ? { snapshotId: each.snapshotId, bytes: each.tokens.length * bytesPerToken } : [],
    );
    const sampledTokens = plan.rows.map(({ sample }) => (sample ? nextToken++ : -1));
    return { outcome: 'decoded', sampledTokens, decodeMs, saves, fileMs };
  };
  while (nowMs < traffic.seconds * 1000) {
    for (const client of people) if (client.readyMs <= nowMs) ask(client);
    const { plan } = scheduler.planTick(nowMs);
    if (!plan) {
      nowMs = Math.min(...people.map(({ readyMs }) => readyMs));
      continue;
    }
    for (const event of scheduler.applyTick(execute(plan))) {
      if (event.type === 'token') underWay.get(event.sequenceId)!.history.push(event.token);
      else if (event.type === 'finished') answered(underWay.get(event.sequenceId)!, event.cachedTokens);
    }
  }
  const { fileMs, tokens, ...counts } = figures;
  return {
    ...counts,
    fileShare: fileMs / nowMs,
    snapshotsNow: scheduler.stats().cache.snapshots,
    tokensPerSecond: (1000 * tokens) / nowMs,
  };
}
