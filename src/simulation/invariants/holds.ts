import { holdShare } from '../../../scheduler/anticipation.js';
import type { TickPlan } from '../../../scheduler/index.js';
import { require } from '../violation.js';
import type { Invariant, World } from './invariant.js';

/**
 * `holds-briefly`: a tick is held only where an ITL target counts, while others run and nobody waited when the call
 * before it ended, and for no longer than the documented share of that call.
 */
export class Holds implements Invariant {
  private readonly world: World;
  private callMs = 0;
  private plannedMs = 0;
  private heldFromMs: number | null = null;
  private hadLine = false;

  constructor(world: World) {
    this.world = world;
  }

  planned(plan: TickPlan | null, clockMs: number): void {
    this.heldFromMs = null;
    if (plan) this.plannedMs = clockMs;
  }

  applied(clockMs: number): void {
    this.callMs = clockMs - this.plannedMs;
    this.hadLine = this.world.ledger.waiting.size > 0;
  }

  held(longestMs: number, clockMs: number): void {
    this.heldFromMs ??= clockMs;
    const { ledger, scenario } = this.world;
    const heldMs = clockMs - this.heldFromMs + longestMs;
    require(heldMs <= holdShare * this.callMs + scenario.clock.resolutionMs + 1e-6, 'holds-briefly', () =>
      `a tick is held for ${heldMs} ms after a call of ${this.callMs} ms`);
    require(ledger.running.size > 0 &&
      !this.hadLine &&
      scenario.policy.itlTargetMs !== 0, 'holds-briefly', () =>
      `a tick is held with ${ledger.running.size} running and ${ledger.waiting.size} waiting`);
  }
}
