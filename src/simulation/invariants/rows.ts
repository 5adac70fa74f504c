import type { Filler, Row, TickPlan } from '../../../scheduler/index.js';
import type { LedgerEntry } from '../ledger.js';
import { splitEqualPasses } from '../split-equal.js';
import { require } from '../violation.js';
import type { Invariant, World } from './invariant.js';

/**
 * `rows-ascending`: one row per slot, in ascending order, none empty, all of running sequences in their own
 * slots; fillers ascend too, behind a row or in slots that nobody owns, and have room.
 */
export class RowsAscending implements Invariant {
  private readonly world: World;

  constructor(world: World) {
    this.world = world;
  }

  planned(plan: TickPlan | null): void {
    const { ledger, scenario } = this.world;
    let lastSlot = -1;
    for (const { slot, tokens, sequenceId } of plan?.rows ?? []) {
      require(slot > lastSlot && slot < scenario.config.slotCount, 'rows-ascending', () =>
        `slot ${slot} follows ${lastSlot}`);
      require(tokens.length > 0, 'rows-ascending', () => `the row of slot ${slot} is empty`);
      lastSlot = slot;
      const owner = ledger.slotOwners.get(slot);
      require(owner?.spec.id === sequenceId, 'slots-owned-once', () =>
        `slot ${slot} of ${owner?.spec.id} computes for ${sequenceId}`);
    }
    this.checkFillers(plan?.fillers ?? [], plan?.rows ?? []);
  }

  private checkFillers(fillers: readonly Filler[], rows: readonly Row[]): void {
    const { ledger, scenario } = this.world;
    let lastSlot = -1;
    for (const { slot, position, tokens } of fillers) {
      require(slot > lastSlot && slot < scenario.config.slotCount, 'rows-ascending', () =>
        `filler of slot ${slot} follows ${lastSlot}`);
      lastSlot = slot;
      const row = rows.find((each) => each.slot === slot);
      const owner = ledger.slotOwners.get(slot);
      require(row !== undefined || owner === undefined, 'slots-owned-once', () =>
        `a filler goes into slot ${slot} of ${owner?.spec.id}, which has no row`);
      require(!row || position === row.firstPosition + row.tokens.length, 'rows-ascending', () =>
        `the filler behind the row of slot ${slot} is at ${position}`);
      require(tokens > 0 && position + tokens <= scenario.config.contextTokens, 'rows-ascending', () =>
        `slot ${slot} has no room for ${tokens} fillers`);
    }
  }
}

/** `batch-size`: a call holds at most the batch, and the plan says truly how much work it is. */
export class BatchSize implements Invariant {
  private readonly world: World;

  constructor(world: World) {
    this.world = world;
  }

  planned(plan: TickPlan | null): void {
    if (!plan) return;
    const { config, policy } = this.world.scenario;
    const fillers = (plan.fillers ?? []).reduce((sum, filler) => sum + filler.tokens, 0);
    const tokens = plan.rows.reduce((sum, row) => sum + row.tokens.length, fillers);
    require(tokens > 0 && tokens <= config.batchTokens, 'batch-size', () =>
      `${tokens} tokens in a batch of ${config.batchTokens}`);
    require(tokens === plan.work.tokens, 'batch-size', () =>
      `the plan says ${plan.work.tokens} tokens, its rows and fillers hold ${tokens}`);
    const sampled = plan.rows.filter((row) => row.sample).length;
    require(sampled === plan.work.sampledRows, 'batch-size', () =>
      `the plan says ${plan.work.sampledRows} samples, its rows ${sampled}`);
    require(policy.threadChoices.includes(plan.threads), 'batch-size', () =>
      `${plan.threads} threads were not offered`);
  }
}

/** `passes-exact`: the predicted passes are those that llama.cpp makes. */
export class PassesExact implements Invariant {
  private readonly world: World;

  constructor(world: World) {
    this.world = world;
  }

  planned(plan: TickPlan | null): void {
    if (!plan) return;
    const lengths = new Map(plan.rows.map(({ slot, tokens }) => [slot, tokens.length]));
    for (const { slot, tokens } of plan.fillers ?? []) lengths.set(slot, (lengths.get(slot) ?? 0) + tokens);
    const rows = [...lengths]
      .map(([slot, length]) => ({ slot, tokens: { length } }))
      .sort((left, right) => left.slot - right.slot);
    const passes = splitEqualPasses(rows, this.world.scenario.config.batchTokens);
    require(plan.work.passes === passes, 'passes-exact', () => {
      const shape = rows.map(({ slot, tokens }) => `${slot}:${tokens.length}`).join(' ');
      return `${plan.work.passes} passes predicted, llama.cpp makes ${passes} of ${shape}`;
    });
  }
}

/**
 * `positions-contiguous`: a row goes on where its slot ends. `row-tokens`: it carries the next known tokens and is
 * sampled exactly at their end. `cached-is-true`: what a slot brings along from another life is a prefix of the
 * prompt, and `salts-apart`: was computed under the same salt.
 */
export class RowContents implements Invariant {
  private readonly world: World;

  constructor(world: World) {
    this.world = world;
  }

  decodable(plan: TickPlan): void {
    const { machine, ledger } = this.world;
    for (const { slot, firstPosition, tokens, sample, sequenceId } of plan.rows) {
      const entry = ledger.entries.get(sequenceId)!;
      const end = firstPosition + tokens.length;
      const isNext = tokens.every((token, index) => token === entry.known[firstPosition + index]);
      require(isNext && end <= entry.known.length, 'row-tokens', () =>
        `slot ${slot}: not what sequence ${sequenceId} has at ${firstPosition}`);
      require(sample === (end === entry.known.length), 'row-tokens', () =>
        `slot ${slot}: sample is ${sample} at ${end} of ${entry.known.length}`);
      if (machine.unnoticedLosses.has(slot)) continue;
      const held = machine.store.length(slot);
      require(held === firstPosition, 'positions-contiguous', () =>
        `slot ${slot} holds ${held}, its row starts at ${firstPosition}`);
      require(entry.computed === null || entry.computed === firstPosition, 'positions-contiguous', () =>
        `sequence ${sequenceId} has computed ${entry.computed}, its row starts at ${firstPosition}`);
      if (entry.computed === null) this.checkPrefix(slot, entry, firstPosition);
    }
  }

  private checkPrefix(slot: number, { known, spec }: LedgerEntry, length: number): void {
    const salt = spec.cacheSalt;
    const { store } = this.world.machine;
    for (let position = 0; position < length; position += 1) {
      require(store.tokenAt(slot, position) === known[position], 'cached-is-true', () =>
        `slot ${slot} reuses ${length} tokens, position ${position} differs`);
      require(store.saltAt(slot, position) === salt, 'salts-apart', () =>
        `slot ${slot} reuses tokens of another salt at ${position}`);
    }
  }
}
