import { invariant } from './assert.js';
import type { CostCoefficients } from './cost-model.js';
import { passesOf, type RowShape } from './pass-count.js';
import type { Row, SchedulerConfig, SlotOperation } from './ports.js';
import { minimumChunkTokens } from './prefill-budget.js';
import type { Sequence } from './sequence.js';
import { classRank, type PriorityClass } from './sequence-spec.js';
import type { Slot } from './slot-pool.js';
import { overheadMs } from './work-of.js';

/** Milliseconds from arrival to first token after which a sequence of the class counts as late. */
export type TtftTargets = Readonly<Record<PriorityClass, number>>;

/**
 * Shares `prefillTokens` among prefilling sequences in the given order; the first gets all it can use.
 * Decoding sequences get one token each in any case.
 * @returns tokens per sequence; sequences without an entry sit this tick out
 */
export function shareTokens(
  decoding: readonly Sequence[],
  prefilling: readonly Sequence[],
  prefillTokens: number,
): Map<Sequence, number> {
  const shares = new Map<Sequence, number>(decoding.map((sequence) => [sequence, 1]));
  let remaining = prefillTokens;
  for (const sequence of prefilling) {
    if (remaining <= 0) break;
    const chunk = Math.min(sequence.pendingTokens, remaining);
    shares.set(sequence, chunk);
    remaining -= chunk;
  }
  return shares;
}

/**
 * A tick cuts at most one prompt short. If a still shorter chunk, as long as another prompt's, goes through the same
 * passes as that one (neighbouring slots), the passes of its own are saved: what is left out joins a later chunk of the
 * prompt, provided it needs no more chunks for that. Cutting a prompt that this tick would finish never pays: it would
 * wait for a whole tick to save one pass. Under an ITL target it may also shrink by up to three tokens, to a
 * multiple of four in its pass.
 * @param running ascending by slot
 * @param shares tokens of each, by `shareTokens`; changed in place
 */
export function fuseChunks(
  running: readonly Sequence[],
  shares: Map<Sequence, number>,
  prefillTokens: number,
  batchTokens: number,
  { cost, mayShrink }: { cost: CostCoefficients; mayShrink: boolean },
): void {
  const riding = running.filter((sequence) => shares.has(sequence));
  const cut = riding.find((sequence) => shares.get(sequence)! < sequence.pendingTokens);
  if (!cut) return;
  const share = shares.get(cut)!;
  const chunksAfter = (tokens: number) => Math.ceil((cut.pendingTokens - tokens) / prefillTokens);
  const msWith = (tokens: number) => {
    const shapes = riding.map((each) => shapeOf(each, each === cut ? tokens : shares.get(each)!));
    return overheadMs(shapes, batchTokens, cost);
  };
  let leastMs = msWith(share);
  const candidates = new Set(shares.values());
  if (mayShrink) for (let less = 1; less < 4; less += 1) candidates.add(share - less);
  for (const tokens of [...candidates].sort((left, right) => right - left)) {
    if (tokens >= share || tokens < minimumChunkTokens || chunksAfter(tokens) > chunksAfter(share)) continue;
    const ms = msWith(tokens);
    if (ms >= leastMs) continue;
    leastMs = ms;
    shares.set(cut, tokens);
  }
}

/**
 * Prompts that share no pass gain nothing from one call, but each would wait for the last of them to be sampled. So
 * the call takes the first one and those that go through its passes; the others follow in calls of their own.
 * @param running ascending by slot
 * @param prefilling in the order in which they are due
 * @param shares tokens of each, of prompts alone; changed in place
 */
export function keepFirstPasses(
  running: readonly Sequence[],
  prefilling: readonly Sequence[],
  shares: Map<Sequence, number>,
  batchTokens: number,
): void {
  const kept = new Set<Sequence>();
  const passesWith = (sequence: Sequence) => {
    const riding = running.filter((each) => each === sequence || kept.has(each));
    const shapes = riding.map((each) => shapeOf(each, shares.get(each)!));
    return passesOf(shapes, batchTokens).passes;
  };
  let fewest = Number.POSITIVE_INFINITY;
  for (const sequence of prefilling) {
    if (!shares.has(sequence)) continue;
    const passes = passesWith(sequence);
    if (passes > fewest) shares.delete(sequence);
    else {
      fewest = passes;
      kept.add(sequence);
    }
  }
}

/**
 * A higher class first, until a lower one is late; of equals the most urgent first: highest response ratio, time in the
 * system over work left (HRRN, Brinch Hansen 1971), so short prompts go first and long ones cannot be passed for ever.
 * Being late for its class's target multiplies the ratio.
 */
export function orderPrefills(
  prefilling: readonly Sequence[],
  nowMs: number,
  perTokenMs: number,
  targets: TtftTargets,
): Sequence[] {
  const urgency = new Map(
    prefilling.map((sequence) => {
      const serviceMs = sequence.pendingTokens * perTokenMs;
      const ratio = (nowMs - sequence.arrivalMs + serviceMs) / serviceMs;
      return [sequence, ratio * (1 + lateness(sequence, nowMs, targets))];
    }),
  );
  const rank = (sequence: Sequence) =>
    lateness(sequence, nowMs, targets) > 0 ? 0 : classRank(sequence.spec);
  return [...prefilling].sort(
    (left, right) =>
      rank(left) - rank(right) ||
      urgency.get(right)! - urgency.get(left)! ||
      left.startRank - right.startRank,
  );
}

/** 0 while in time for its first token, 1 when it has taken twice its class's target. */
export function lateness(sequence: Sequence, nowMs: number, targets: TtftTargets): number {
  return Math.max(0, (nowMs - sequence.arrivalMs) / targets[sequence.spec.priorityClass] - 1);
}

/** @param tokens how many of the next ones to compute */
export function rowOf(sequence: Sequence, tokens: number): Row {
  return {
    sequenceId: sequence.spec.id,
    slot: sequence.slot!,
    firstPosition: sequence.computedTokens,
    tokens: sequence.nextTokens(tokens),
    sample: tokens === sequence.pendingTokens,
  };
}

/**
 * @param shares tokens of each sequence that rides
 * @returns ascending by slot
 */
export function rowsOf(shares: ReadonlyMap<Sequence, number>): Row[] {
  const rows = [...shares].map(([sequence, tokens]) => rowOf(sequence, tokens));
  return rows.sort((left, right) => left.slot - right.slot);
}

function shapeOf(sequence: Sequence, length: number): RowShape {
  return { slot: sequence.slot!, tokens: { length } };
}

/**
 * Rows in slot order, and the operations that first bring each slot to the state its row expects.
 * @param slots ascending
 */
export function layOutRows(
  slots: readonly Slot[],
  shares: ReadonlyMap<Sequence, number>,
): { rows: Row[]; operations: SlotOperation[] } {
  const rows: Row[] = [];
  const operations: SlotOperation[] = [];
  for (const { index, owner, kvTokens } of slots) {
    const share = owner && shares.get(owner);
    if (!owner || !share) continue;
    if (kvTokens !== owner.computedTokens) {
      operations.push({ kind: 'truncate', slot: index, keepTokens: owner.computedTokens });
    }
    rows.push(rowOf(owner, share));
  }
  return { rows, operations };
}

/** What llama.cpp would answer with an abort of the process. @throws InvariantError */
export function assertRows(rows: readonly Row[], { contextTokens, batchTokens }: SchedulerConfig): void {
  let tokens = 0;
  let lastSlot = -1;
  for (const row of rows) {
    tokens += row.tokens.length;
    invariant(row.slot > lastSlot, () => `row of slot ${row.slot} follows slot ${lastSlot}`);
    invariant(row.tokens.length > 0, () => `row of slot ${row.slot} is empty`);
    invariant(
      row.firstPosition + row.tokens.length <= contextTokens,
      () => `row of slot ${row.slot} leaves the window`,
    );
    lastSlot = row.slot;
  }
  invariant(tokens <= batchTokens, () => `${tokens} tokens exceed the batch of ${batchTokens}`);
}
