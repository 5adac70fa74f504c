import type { TickPlan } from '../../../scheduler/index.js';
import type { LedgerEntry } from '../ledger.js';
import { require } from '../violation.js';
import type { Invariant, World } from './invariant.js';
import { mostPreemptions } from './preemption.js';

/** `leaves-at-once`: whoever was cancelled or finished is gone with the next batch of events. */
export class LeavesAtOnce implements Invariant {
  private readonly world: World;

  constructor(world: World) {
    this.world = world;
  }

  planned(): void {
    this.check();
  }

  applied(): void {
    this.check();
  }

  private check(): void {
    const { ledger } = this.world;
    for (const lines of [ledger.running, ledger.waiting]) {
      for (const { wishes, spec, state } of lines) {
        require(wishes.length === 0, 'leaves-at-once', () =>
          `sequence ${spec.id} is still ${state} after ${wishes[0]}`);
      }
    }
  }
}

/** `gives-up`: a sequence that failed too often, or could not be sampled, has ended. */
export class GivesUp implements Invariant {
  private readonly world: World;
  private readonly mostFailedTicks: number;

  constructor(world: World, mostFailedTicks: number) {
    this.world = world;
    this.mostFailedTicks = mostFailedTicks;
  }

  applied(): void {
    for (const { failedTicks, samplingFailed, spec } of this.world.ledger.running) {
      require(failedTicks < this.mostFailedTicks && !samplingFailed, 'gives-up', () =>
        `sequence ${spec.id} runs on after ${failedTicks} failures`);
    }
  }
}

/** `no-token-lost`: a row that was sampled delivers its token, or ends its sequence. */
export class NoTokenLost implements Invariant {
  private readonly world: World;
  private expected: { entry: LedgerEntry; delivered: number }[] = [];

  constructor(world: World) {
    this.world = world;
  }

  decodable(plan: TickPlan): void {
    this.expected = plan.rows
      .filter((row) => row.sample)
      .map((row) => this.world.ledger.entries.get(row.sequenceId)!)
      .map((entry) => ({ entry, delivered: entry.delivered + 1 }));
  }

  applied(): void {
    for (const { entry, delivered } of this.expected) {
      const isRestarted = entry.failedTicks > 0 || entry.computed === null;
      if (entry.state === 'finished' || isRestarted) continue;
      require(entry.delivered === delivered, 'no-token-lost', () =>
        `sequence ${entry.spec.id} was sampled but has ${entry.delivered} tokens`);
    }
    this.expected = [];
  }
}

/**
 * `expires-in-time`: nobody waits for its first slot past its deadline. (That nobody expires early is judged
 * by the ledger.)
 */
export class ExpiresInTime implements Invariant {
  private readonly world: World;

  constructor(world: World) {
    this.world = world;
  }

  planned(_plan: TickPlan | null, clockMs: number): void {
    for (const { spec, startRank } of this.world.ledger.waiting) {
      if (startRank >= 0) continue;
      require((spec.deadlineMs ?? Number.POSITIVE_INFINITY) > clockMs, 'expires-in-time', () =>
        `sequence ${spec.id} waits at ${clockMs} past ${spec.deadlineMs}`);
    }
  }
}

/** `sleeps-only-when-idle`: nobody who was admitted is forgotten when the tick loop goes to sleep. */
export class SleepsOnlyWhenIdle implements Invariant {
  private readonly world: World;

  constructor(world: World) {
    this.world = world;
  }

  asleep(): void {
    const { unfinished } = this.world.ledger;
    require(unfinished === 0, 'sleeps-only-when-idle', () =>
      `the loop sleeps while ${unfinished} sequences have not ended`);
  }
}

/**
 * `liveness`: once faults and arrivals have ended, everything finishes within a number of ticks that follows from the
 * work left. Let P and N be the prompt and new tokens left, B the batch, S the slots, Q the sequences. A tick
 * either spends its whole batch, at least B - S + 1 of it on prompts, or ends a prefill that others may have
 * waited for, or brings every occupied slot a token; with fewer than S occupied the line is empty, and the
 * longest generation bounds what is left: P / (B - S + 1) + 2 Q + N / S + longest + 3.
 * An ITL target lets prompts wait while somebody decodes, so then each new token may cost a tick of its own:
 * P / (B - S + 1) + 2 Q + chunks of 32 + N + 3. Where classes meet, each preemption that is yet possible
 * counts as one more sequence that has to be computed from its start.
 */
export class Liveness implements Invariant {
  private readonly world: World;
  private ticksLeft = Number.POSITIVE_INFINITY;

  constructor(world: World) {
    this.world = world;
  }

  calmed(): void {
    const { ledger, scenario } = this.world;
    const { slotCount, batchTokens } = scenario.config;
    let promptTokens = 0;
    let newTokens = 0;
    let longest = 0;
    let chunks = 0;
    let sequences = 0;
    const mayPreempt = scenario.traffic.classWeights.filter((weight) => weight > 0).length > 1;
    for (const entry of [...ledger.running, ...ledger.waiting]) {
      const left = entry.spec.maxTokens - entry.delivered;
      const preemptions = mayPreempt ? mostPreemptions(entry) : 0;
      const prefillTokens = entry.pendingTokens + preemptions * (entry.known.length + left);
      sequences += 1 + preemptions;
      promptTokens += prefillTokens;
      chunks += Math.ceil(prefillTokens / 32) + preemptions;
      newTokens += left;
      longest = Math.max(longest, left);
    }
    const fullBatches = Math.ceil(promptTokens / (batchTokens - slotCount + 1)) + 2 * sequences;
    this.ticksLeft =
      scenario.policy.itlTargetMs === 0
        ? fullBatches + Math.ceil(newTokens / slotCount) + longest + 3
        : fullBatches + chunks + newTokens + 3;
  }

  applied(): void {
    this.ticksLeft -= 1;
    const { unfinished } = this.world.ledger;
    require(unfinished === 0 || this.ticksLeft > 0, 'liveness', () =>
      `${unfinished} sequences have not ended in the ticks that suffice`);
  }
}
