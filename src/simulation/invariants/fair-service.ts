import { generatedTokenWeight, promptTokenWeight } from '../../../scheduler/fair-share.js';
import type { SchedulerEvent, TickPlan } from '../../../scheduler/index.js';
import type { LedgerEntry } from '../ledger.js';
import { require } from '../violation.js';
import type { Invariant, World } from './invariant.js';

interface Account {
  /** Weighted tokens since the beginning. */
  service: number;
  waiting: number;
}

/**
 * `fair-service`: as long as two tenants of a class both have requests in line, the service they get
 * meanwhile differs by no more than twice U, in weighted tokens (Theorem 4.4 of "Fairness in Serving Large
 * Language Models", Sheng et al., OSDI 2024).
 * U = promptTokenWeight * longest prompt + generatedTokenWeight * slots * most new tokens: what a tenant can
 * still be charged after it was the least served one. Prompts are charged when they get a slot, but seen here with their
 * first row: those in between count as unknown. Held only where no fault makes work be done twice.
 */
export class FairService implements Invariant {
  private readonly world: World;
  private readonly bound: number;
  private readonly accounts = new Map<string, Account>();
  /** Difference of service when both tenants of a pair had come into line. */
  private readonly pairs = new Map<string, { difference: number; unseen: number }>();
  /** Service that may have been charged for prompts without a row. */
  private unseen = 0;

  constructor(world: World) {
    this.world = world;
    const { traffic, config } = world.scenario;
    const longestPrompt = promptTokenWeight * config.contextTokens;
    this.bound = 2 * (longestPrompt + generatedTokenWeight * config.slotCount * traffic.newTokens[1]);
  }

  event(event: SchedulerEvent): void {
    const entry = this.world.ledger.entries.get(event.sequenceId)!;
    if (event.type === 'token') this.account(entry).service += generatedTokenWeight;
    if (event.type === 'finished' && event.generatedTokens > entry.delivered) {
      this.account(entry).service += generatedTokenWeight;
    }
  }

  /** Prompt tokens count when the first row shows how many of them were cached. */
  decodable(plan: TickPlan): void {
    for (const { sequenceId, firstPosition } of plan.rows) {
      const entry = this.world.ledger.entries.get(sequenceId)!;
      if (entry.cachedTokens !== null) continue;
      this.account(entry).service += promptTokenWeight * (entry.spec.prompt.length - firstPosition);
    }
  }

  planned(): void {
    for (const account of this.accounts.values()) account.waiting = 0;
    for (const entry of this.world.ledger.waiting) this.account(entry).waiting += 1;
    const isUnseen = ({ cachedTokens }: LedgerEntry) => cachedTokens === null;
    const unseen = [...this.world.ledger.running].filter(isUnseen);
    this.unseen = promptTokenWeight * unseen.reduce((sum, { spec }) => sum + spec.prompt.length, 0);
    const names = [...this.accounts.keys()];
    for (const [index, left] of names.entries()) {
      for (const right of names.slice(index + 1)) this.comparePair(left, right);
    }
  }

  private comparePair(leftName: string, rightName: string): void {
    if (classOf(leftName) !== classOf(rightName)) return;
    const left = this.accounts.get(leftName)!;
    const right = this.accounts.get(rightName)!;
    const key = `${leftName} ${rightName}`;
    if (left.waiting === 0 || right.waiting === 0) {
      this.pairs.delete(key);
      return;
    }
    const difference = left.service - right.service;
    const pair = this.pairs.get(key) ?? { difference, unseen: this.unseen };
    this.pairs.set(key, pair);
    const drift = Math.abs(difference - pair.difference);
    const bound = this.bound + this.unseen + pair.unseen;
    require(drift <= bound, 'fair-service', () =>
      `${leftName} and ${rightName} drifted ${drift} apart, the bound is ${bound}`);
  }

  private account({ spec }: LedgerEntry): Account {
    const name = `${spec.priorityClass}/${spec.tenant}`;
    const account = this.accounts.get(name) ?? { service: 0, waiting: 0 };
    this.accounts.set(name, account);
    return account;
  }
}

function classOf(name: string): string {
  return name.slice(0, name.indexOf('/'));
}
