import type { TickPlan } from '../../../scheduler/index.js';
import { usefulChunkTokens } from '../../../scheduler/prefill-budget.js';
import type { World } from './invariant.js';

/** The least that the plan's call of prefill may compute whatever it costs, by the cost model that allows most. */
export function leastChunkTokens({ scheduler, scenario }: World, plan: TickPlan | null): number {
  const chunks = (plan?.rows ?? []).filter(({ tokens }) => tokens.length > 1);
  const firstPosition = Math.max(0, ...chunks.map((row) => row.firstPosition));
  const costs = scenario.policy.threadChoices.map((threads) => scheduler.costs.model(threads).coefficients);
  return Math.max(...costs.map((cost) => usefulChunkTokens({ cost, firstPosition })));
}
