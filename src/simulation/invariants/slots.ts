import { require } from '../violation.js';
import type { Invariant, World } from './invariant.js';

/** `slots-conserved`: every slot is running, cached or empty; the scheduler's counts are those of its events. */
export class SlotsConserved implements Invariant {
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
    const { stats, ledger, scenario } = this.world;
    const held = stats.running + stats.cachedSlots + stats.emptySlots;
    require(held === scenario.config.slotCount, 'slots-conserved', () =>
      `${stats.running} running + ${stats.cachedSlots} cached + ${stats.emptySlots} empty of ${scenario.config.slotCount}`);
    require(stats.running === ledger.running.size, 'slots-conserved', () =>
      `${stats.running} run, by events ${ledger.running.size}`);
    require(ledger.slotOwners.size === ledger.running.size, 'slots-owned-once', () =>
      'a slot has two owners');
  }
}

/** `kv-length`: what the scheduler believes of a slot is what the slot holds, unless it knows that it does not know. */
export class KvLength implements Invariant {
  private readonly world: World;

  constructor(world: World) {
    this.world = world;
  }

  applied(): void {
    const { scheduler, machine, ledger } = this.world;
    scheduler.slotTokens().forEach((believed, slot) => {
      if (machine.unnoticedLosses.has(slot)) return;
      const held = machine.store.length(slot);
      require(believed === null || believed === held, 'kv-length', () =>
        `slot ${slot} holds ${held}, the scheduler says ${believed}`);
      const owner = ledger.slotOwners.get(slot);
      if (!owner || owner.computed === null) return;
      require(believed === null || owner.computed === held, 'kv-length', () =>
        `slot ${slot} holds ${held}, sequence ${owner.spec.id} has computed ${owner.computed}`);
    });
  }
}
