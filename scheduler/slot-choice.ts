import type { Slot } from './slot.js';
import type { SlotCosts } from './slot-costs.js';
import type { Snapshot } from './snapshots.js';

/** Where the first `tokens` tokens of a prompt come from. */
export type PrefixSource =
  | { kind: 'cold'; tokens: 0 }
  | { kind: 'in-place'; tokens: number }
  | { kind: 'copy'; tokens: number; donor: Slot }
  | { kind: 'snapshot'; tokens: number; snapshot: Snapshot };

export interface PricedSource {
  source: PrefixSource;
  /** Prefill that is left, plus what bringing the prefix costs. */
  costMs: number;
}

/** Something that has first tokens in common with a prompt. */
export interface Offer {
  holder: Slot | Snapshot;
  /** In common once the holder has all it was promised. */
  shared: number;
  /** Of these, what it can give now. */
  tokens: number;
}

const cold: PrefixSource = { kind: 'cold', tokens: 0 };

/** What computing the rest of a prompt costs; its last token is always computed, because its logits are needed. */
export function restMs(promptTokens: number, cachedTokens: number, costs: SlotCosts): number {
  return costs.prefillMs(promptTokens - cachedTokens, cachedTokens);
}

/** The cheapest way to fill any slot but the donor itself: copy, snapshot or cold. */
export function cheapestImport(
  offers: readonly Offer[],
  promptTokens: number,
  costs: SlotCosts,
): PricedSource {
  let best: PricedSource = { source: cold, costMs: restMs(promptTokens, 0, costs) };
  for (const { holder, tokens } of cheapestPerLength(offers)) {
    const isSnapshot = holder.kind === 'snapshot';
    const bringMs = isSnapshot ? costs.restoreMs(holder.tokens) : costs.copyMs;
    const costMs = restMs(promptTokens, tokens, costs) + bringMs;
    if (costMs >= best.costMs) continue;
    const source: PrefixSource = isSnapshot
      ? { kind: 'snapshot', tokens, snapshot: holder }
      : { kind: 'copy', tokens, donor: holder };
    best = { source, costMs };
  }
  return best;
}

/** Hundreds of snapshots may share a prefix: of those that give the same, the shortest is restored soonest. */
function cheapestPerLength(offers: readonly Offer[]): Offer[] {
  const slots = new Map<number, Offer>();
  const snapshots = new Map<number, Offer & { holder: Snapshot }>();
  for (const offer of offers) {
    const { holder, tokens } = offer;
    if (tokens === 0) continue;
    if (holder.kind === 'slot') slots.set(tokens, slots.get(tokens) ?? offer);
    else if (holder.tokens < (snapshots.get(tokens)?.holder.tokens ?? Number.POSITIVE_INFINITY)) {
      snapshots.set(tokens, { ...offer, holder });
    }
  }
  return [...slots.values(), ...snapshots.values()];
}

/** The import, unless what the slot holds already is as good. */
export function cheapestSource(
  imported: PricedSource,
  inPlaceTokens: number,
  promptTokens: number,
  costs: SlotCosts,
): PricedSource {
  if (inPlaceTokens === 0) return imported;
  const costMs = restMs(promptTokens, inPlaceTokens, costs);
  return costMs <= imported.costMs
    ? { source: { kind: 'in-place', tokens: inPlaceTokens }, costMs }
    : imported;
}

/** How many more passes per tick the busy slots need with this one among them: -1 closes a hole, 1 opens one. */
export function extraPasses(busy: readonly boolean[], index: number): number {
  return 1 - Number(busy[index - 1] ?? false) - Number(busy[index + 1] ?? false);
}
