import type { Row, SchedulerEvent, SequenceSpec, TickPlan, TickResult } from '../../scheduler/index.js';
import { maxFailedTicks } from '../../scheduler/scheduler.js';
import { emptyDigest, endToken, extendDigest, tokenAfter } from './simulated-text.js';
import { require } from './violation.js';

/** What the outside world may know of one sequence. */
export class LedgerEntry {
  readonly spec: SequenceSpec;
  readonly arrivalMs: number;
  state: 'waiting' | 'running' | 'finished' = 'waiting';
  slot = -1;
  /** -1: it never had a slot. */
  startRank = -1;
  /** Prompt and delivered tokens. */
  readonly known: number[];
  /** Tokens computed in its slot; null: the next row tells. */
  computed: number | null = null;
  cachedTokens: number | null = null;
  delivered = 0;
  failedTicks = 0;
  samplingFailed = false;
  /** What its client asked for, first wish first. */
  readonly wishes: ('cancelled' | 'stop')[] = [];
  private digest = emptyDigest;

  constructor(spec: SequenceSpec, arrivalMs: number) {
    this.spec = spec;
    this.arrivalMs = arrivalMs;
    this.known = [...spec.prompt];
    for (const token of spec.prompt) this.digest = extendDigest(this.digest, token);
  }

  /** The oracle: the next token of a run of this prompt alone, undisturbed. */
  nextToken(meanLengthTokens: number): number {
    return tokenAfter(this.digest, meanLengthTokens);
  }

  deliver(token: number): void {
    this.known.push(token);
    this.digest = extendDigest(this.digest, token);
    this.delivered += 1;
  }

  get pendingTokens(): number {
    return this.known.length - (this.computed ?? 0);
  }

  endsWith(token: number): boolean {
    return token === endToken && !this.spec.ignoreEndToken;
  }
}

/**
 * The simulation's own account of every sequence, kept from events and plans alone.
 * It judges the life of a sequence: started once, resumed as often as preempted, its tokens in order and
 * those of the oracle, ended once and for a reason.
 */
export class Ledger {
  readonly entries = new Map<number, LedgerEntry>();
  /** Running, in order of start. */
  readonly running = new Set<LedgerEntry>();
  /** Waiting, preempted ones included. */
  readonly waiting = new Set<LedgerEntry>();
  readonly slotOwners = new Map<number, LedgerEntry>();
  finishedCount = 0;
  private readonly meanLengthTokens: number;
  private starts = 0;

  constructor(meanLengthTokens: number) {
    this.meanLengthTokens = meanLengthTokens;
  }

  admit(specs: readonly SequenceSpec[], nowMs: number): void {
    for (const spec of specs) {
      const entry = new LedgerEntry(spec, nowMs);
      this.entries.set(spec.id, entry);
      this.waiting.add(entry);
    }
  }

  wish(sequenceId: number, wish: 'cancelled' | 'stop'): void {
    const entry = this.entries.get(sequenceId);
    if (entry && entry.state !== 'finished') entry.wishes.push(wish);
  }

  get unfinished(): number {
    return this.entries.size - this.finishedCount;
  }

  take(event: SchedulerEvent, nowMs: number): void {
    const entry = this.entries.get(event.sequenceId);
    require(entry !== undefined, 'ends-once', () => `event for unknown sequence ${event.sequenceId}`);
    require(entry.state !== 'finished', 'ends-once', () =>
      `sequence ${event.sequenceId}: ${event.type} after its end`);
    if (event.type === 'started') this.start(entry, event.slot, false);
    else if (event.type === 'resumed') this.start(entry, event.slot, true);
    else if (event.type === 'preempted') this.preempt(entry);
    else if (event.type === 'token') this.takeToken(entry, event.token, event.index);
    else if (event.type === 'finished') this.finish(entry, event, nowMs);
  }

  /** A sequence goes on in another slot after the plan copied it there. */
  relocate({ rows, operations }: TickPlan): void {
    for (const { sequenceId, slot } of rows) {
      const entry = this.entries.get(sequenceId);
      if (entry?.state !== 'running' || entry.slot === slot) continue;
      const isCopied = operations.some(
        (operation) =>
          operation.kind === 'copy' && operation.fromSlot === entry.slot && operation.toSlot === slot,
      );
      const owner = this.slotOwners.get(slot);
      require(isCopied && owner === undefined, 'slots-owned-once', () =>
        `slot ${slot} of ${owner?.spec.id} computes for ${sequenceId}, which has slot ${entry.slot}`);
      this.slotOwners.delete(entry.slot);
      this.slotOwners.set(slot, entry);
      entry.slot = slot;
    }
  }

  /** A row about to be decoded: the first one after a start or a loss says what was computed already. */
  settleRow(row: Row): void {
    const entry = this.entries.get(row.sequenceId)!;
    entry.computed ??= row.firstPosition;
    entry.cachedTokens ??= row.firstPosition;
  }

  /** What the call did, before its events are taken. */
  applyResult(plan: TickPlan, result: TickResult): void {
    if (result.outcome === 'slots-lost') {
      for (const slot of result.slots) this.forget(slot);
      return;
    }
    plan.rows.forEach((row, index) => {
      const entry = this.entries.get(row.sequenceId)!;
      if (result.outcome === 'failed') {
        entry.failedTicks += 1;
        this.forget(row.slot);
        return;
      }
      entry.failedTicks = 0;
      entry.computed = row.firstPosition + row.tokens.length;
      if (row.sample && result.sampledTokens[index]! < 0) entry.samplingFailed = true;
    });
  }

  forget(slot: number): void {
    const owner = this.slotOwners.get(slot);
    if (owner) owner.computed = null;
  }

  private start(entry: LedgerEntry, slot: number, isResumed: boolean): void {
    const { id } = entry.spec;
    require(entry.state === 'waiting' && entry.startRank >= 0 === isResumed, 'resumes-once', () =>
      `sequence ${id} ${isResumed ? 'resumed' : 'started'} while ${entry.state}, its start was ${entry.startRank}`);
    const owner = this.slotOwners.get(slot);
    require(owner === undefined, 'slots-owned-once', () =>
      `slot ${slot} of ${owner!.spec.id} given to ${id} too`);
    entry.state = 'running';
    entry.slot = slot;
    entry.startRank = this.starts;
    this.starts += 1;
    this.waiting.delete(entry);
    this.running.add(entry);
    this.slotOwners.set(slot, entry);
  }

  private preempt(entry: LedgerEntry): void {
    require(entry.state === 'running', 'resumes-once', () =>
      `sequence ${entry.spec.id} preempted while ${entry.state}`);
    entry.state = 'waiting';
    entry.computed = null;
    this.running.delete(entry);
    this.waiting.add(entry);
    this.slotOwners.delete(entry.slot);
  }

  private takeToken(entry: LedgerEntry, token: number, index: number): void {
    const { id } = entry.spec;
    require(entry.state === 'running', 'tokens-exact', () =>
      `sequence ${id} got a token while ${entry.state}`);
    require(index === entry.delivered, 'tokens-exact', () =>
      `sequence ${id}: token ${index} follows ${entry.delivered - 1}`);
    const expected = entry.nextToken(this.meanLengthTokens);
    require(token === expected, 'tokens-exact', () =>
      `sequence ${id}: token ${index} is ${token}, alone it would be ${expected}`);
    require(!entry.endsWith(token), 'tokens-exact', () => `sequence ${id}: its end token was delivered`);
    entry.deliver(token);
    require(entry.delivered <= entry.spec.maxTokens, 'tokens-exact', () =>
      `sequence ${id} got more than it asked for`);
  }

  private finish(
    entry: LedgerEntry,
    event: Extract<SchedulerEvent, { type: 'finished' }>,
    nowMs: number,
  ): void {
    const { id } = entry.spec;
    const wasRunning = entry.state === 'running';
    require(this.mayEnd(entry, event.reason, nowMs), 'ends-for-a-reason', () =>
      `sequence ${id} ended with ${event.reason} for no reason`);
    const ownEnd = event.reason === 'stop' && entry.wishes.length === 0 ? 1 : 0;
    require(event.generatedTokens === entry.delivered + ownEnd, 'tokens-exact', () =>
      `sequence ${id} counts ${event.generatedTokens} tokens, ${entry.delivered} were delivered`);
    const { cachedTokens } = event;
    require(cachedTokens === 0 ||
      cachedTokens === entry.cachedTokens ||
      entry.cachedTokens === null, 'cached-is-true', () =>
      `sequence ${id} reports ${cachedTokens} cached tokens, it had ${entry.cachedTokens}`);
    entry.state = 'finished';
    this.finishedCount += 1;
    this.waiting.delete(entry);
    if (!wasRunning) return;
    this.running.delete(entry);
    this.slotOwners.delete(entry.slot);
  }

  private mayEnd(entry: LedgerEntry, reason: string, nowMs: number): boolean {
    switch (reason) {
      case 'stop':
        return entry.wishes.length > 0
          ? entry.wishes[0] === 'stop'
          : entry.state === 'running' && entry.endsWith(entry.nextToken(this.meanLengthTokens));
      case 'length':
        return entry.delivered === entry.spec.maxTokens;
      case 'cancelled':
        return entry.wishes[0] === 'cancelled';
      case 'expired':
        return entry.startRank < 0 && (entry.spec.deadlineMs ?? Number.POSITIVE_INFINITY) <= nowMs;
      case 'error':
        return entry.failedTicks === maxFailedTicks || entry.samplingFailed;
      default:
        return false;
    }
  }
}
