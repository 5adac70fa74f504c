import type { FinishReason } from '../../../scheduler/index.js';
import type { GenerationEvent } from '../../serving/serving-core.js';
import type { ClientRequest } from '../scenario.js';
import { emptyDigest, endToken, extendDigest, tokenAfter } from '../simulated-text.js';
import type { Timeline } from '../timeline.js';
import { require } from '../violation.js';
import { mostStalls, type StoredRequest } from './simulated-redis.js';

export type Ending = FinishReason | 'done' | 'refused' | 'cut';

/** What the client of one choice has got. */
interface ChoiceEntry {
  digest: number;
  delivered: number;
  hasEnded: boolean;
}

export interface RequestEntry {
  request: ClientRequest;
  nodeId: string;
  /** Rank of arrival. */
  rank: number;
  deadlineAtMs: number | null;
  choices: ChoiceEntry[];
  ending: Ending | null;
}

/** The clients' own account: what each was sent, judged against a run of its prompt alone, and how it ended. */
export class ClusterLedger {
  readonly entries = new Map<string, RequestEntry>();
  readonly endings = new Map<Ending, number>();
  tokens = 0;
  unfinished = 0;
  /** Faults so long that an error is an honest answer. */
  hasExcuse = false;
  /** Workers that died so far: of one request, only a few may be survived. */
  workerDeaths = 0;
  onLog: (kind: string, values: (string | number)[]) => void = () => {};
  /** A client that was told of a failure goes. */
  onAbandon: (entry: RequestEntry) => void = () => {};
  /** A client has seen so many tokens of its first choice. */
  onToken: (entry: RequestEntry, count: number) => void = () => {};
  private readonly timeline: Timeline;
  private readonly meanLengthTokens: number;

  constructor(timeline: Timeline, meanLengthTokens: number) {
    this.timeline = timeline;
    this.meanLengthTokens = meanLengthTokens;
  }

  arrive(request: ClientRequest, nodeId: string): void {
    let digest = emptyDigest;
    for (const token of request.prompt) digest = extendDigest(digest, token);
    const deadlineAtMs =
      request.deadlineAfterMs === null ? null : this.timeline.nowMs + request.deadlineAfterMs;
    const choices = Array.from({ length: request.choices }, () => ({
      digest,
      delivered: 0,
      hasEnded: false,
    }));
    const rank = this.entries.size;
    this.entries.set(request.label, { request, nodeId, rank, deadlineAtMs, choices, ending: null });
    this.unfinished += 1;
    this.onLog('arrive', [request.label, nodeId, request.tenant, request.priorityClass]);
  }

  refuse({ request: { label } }: Pick<StoredRequest, 'request'>, code: string): void {
    const entry = this.openEntry(label, 'refused');
    this.onLog('refuse', [label, code]);
    require(entry.choices.every(({ delivered }) => delivered === 0), 'ends-once', () =>
      `request ${label} was refused after tokens`);
    this.end(entry, 'refused');
  }

  /** Its client has left by itself. @returns whether it was still there */
  leave(label: string): boolean {
    const entry = this.entries.get(label)!;
    if (entry.ending !== null) return false;
    this.onLog('leave', [label]);
    this.end(entry, 'cancelled');
    return true;
  }

  /** A process died, and its clients' connections with it. */
  cut(nodeId: string): void {
    for (const entry of this.entries.values()) {
      if (entry.nodeId === nodeId && entry.ending === null) this.end(entry, 'cut');
    }
  }

  deliver(label: string, event: GenerationEvent): void {
    const entry = this.openEntry(label, event.type);
    const choice = entry.choices[event.choice]!;
    require(!choice.hasEnded, 'ends-once', () => `request ${label}: ${event.type} after the end of a choice`);
    if (event.type === 'text') {
      for (const token of event.tokens) this.takeToken(entry, choice, token);
      if (event.choice === 0) this.onToken(entry, choice.delivered);
      return;
    }
    this.onLog('finish', [label, event.choice, event.reason, event.failure?.message ?? '']);
    choice.hasEnded = true;
    require(this.mayEnd(entry, choice, event), 'ends-for-a-reason', () =>
      `request ${label} ended with ${event.reason} ${event.failure?.message ?? ''} for no reason after ${choice.delivered} tokens`);
    if (event.reason !== 'stop' && event.reason !== 'length') {
      this.end(entry, event.reason);
      this.onAbandon(entry);
    } else if (entry.choices.every(({ hasEnded }) => hasEnded)) this.end(entry, 'done');
  }

  private openEntry(label: string, what: string): RequestEntry {
    const entry = this.entries.get(label)!;
    require(entry.ending === null, 'ends-once', () =>
      `request ${label}: ${what} after it ended with ${entry.ending}`);
    return entry;
  }

  private takeToken({ request }: RequestEntry, choice: ChoiceEntry, token: number): void {
    const expected = tokenAfter(choice.digest, this.meanLengthTokens);
    require(token === expected, 'tokens-exact', () =>
      `request ${request.label}: token ${choice.delivered} is ${token}, alone it would be ${expected}`);
    choice.digest = extendDigest(choice.digest, token);
    choice.delivered += 1;
    this.tokens += 1;
    this.onLog('token', [request.label, token]);
  }

  private mayEnd(
    { request, deadlineAtMs }: RequestEntry,
    { digest, delivered }: ChoiceEntry,
    { reason, failure }: Extract<GenerationEvent, { type: 'finished' }>,
  ): boolean {
    switch (reason) {
      case 'stop':
        return !request.ignoreEndToken && tokenAfter(digest, this.meanLengthTokens) === endToken;
      case 'length':
        return delivered === request.maxTokens;
      case 'expired':
        return delivered === 0 && (deadlineAtMs ?? Number.POSITIVE_INFINITY) <= this.timeline.nowMs;
      case 'error':
        if (failure?.message === 'every worker died' && this.workerDeaths > mostStalls) return true;
        return failure?.message === 'cannot run' || this.hasExcuse;
      default:
        return false;
    }
  }

  private end(entry: RequestEntry, ending: Ending): void {
    entry.ending = ending;
    this.unfinished -= 1;
    this.endings.set(ending, (this.endings.get(ending) ?? 0) + 1);
  }
}
