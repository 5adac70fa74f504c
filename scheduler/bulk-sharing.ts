import type { CostModel } from './cost-model.js';
import type { Row } from './ports.js';
import { plannedShare } from './prefill-budget.js';
import type { Sequence } from './sequence.js';
import { rowOf, rowsOf } from './tick-planner.js';
import { workOf } from './work-of.js';

/** Of the time that others' ticks take, what bulk work may add. */
export const bulkShare = 0.1;
/** The shortest part of a bulk prompt that is computed next to others' rows. */
export const bulkChunkTokens = 8;

export interface BulkDemand {
  /** Tokens of the sequences of other classes, at least one; rows of bulk work are added in place. */
  shares: Map<Sequence, number>;
  /** Settled sequences of class batch, at least one, in any order. */
  bulk: readonly Sequence[];
  /** false: a tick of prefill, with which it would share no pass. */
  mayRide: boolean;
  /** Milliseconds of prefill that those who decode in this tick have just waited for. */
  satOutMs: number;
  /** Milliseconds between two tokens that somebody asked for; 0: nobody did. */
  itlTargetMs: number;
  /** Milliseconds of a decode with all slots busy: what readers meet in any case when the house is full. */
  fullDecodeMs: number;
  model: CostModel;
  batchTokens: number;
}

/**
 * Which rows of bulk work join a tick of other classes. Each makes that tick longer, so bulk work lives on credit: a
 * tenth of what the others' ticks take, which it spends as soon as it buys a row or a piece of prompt. It
 * pushes no tick beyond a full decode or 1.1 times itself, and sits out the decode after a prefill, which
 * ends the longest gaps, unless it has waited for so long that its credit is full. A target that was asked
 * for may be used up instead. Whoever has sat out longest rides first, so all of them get on.
 */
export class BulkSharing {
  private creditMs = 0;
  private ticks = 0;
  private readonly lastRide = new WeakMap<Sequence, number>();

  addRows(demand: BulkDemand): void {
    const { shares, bulk, mayRide, satOutMs, itlTargetMs, fullDecodeMs, model, batchTokens } = demand;
    this.ticks += 1;
    const predictMs = (rows: readonly Row[]) => model.predictMs(workOf(rows, batchTokens));
    let rows = rowsOf(shares);
    const baseMs = predictMs(rows);
    const priced = (sequence: Sequence, tokens: number) => {
      const withIt = withRow(rows, rowOf(sequence, tokens));
      return { tokens, rows: withIt, addedMs: predictMs(withIt) - baseMs };
    };
    const waiting = this.byTurn(bulk);
    const smallestMs = priced(waiting[0]!, smallestChunk(waiting[0]!)).addedMs;
    const fullCreditMs = Math.max(fullDecodeMs, smallestMs);
    this.creditMs = Math.min(this.creditMs + bulkShare * baseMs, fullCreditMs);
    if (!mayRide) return;
    const delaysPrompts = rows.some(({ tokens }) => tokens.length > 1);
    const roomMs = satOutMs > 0 || delaysPrompts ? 0 : Math.max(bulkShare * baseMs, fullDecodeMs - baseMs);
    const creditMs = this.creditMs >= fullCreditMs ? this.creditMs : Math.min(this.creditMs, roomMs);
    const leftMs = itlTargetMs > 0 ? plannedShare * itlTargetMs - satOutMs - baseMs : 0;
    const availableMs = Math.max(creditMs, leftMs);
    let freeTokens = batchTokens - [...shares.values()].reduce((sum, tokens) => sum + tokens, 0);
    let spentMs = 0;
    for (const sequence of waiting) {
      const ride = longest(sequence, freeTokens, (tokens) => {
        const each = priced(sequence, tokens);
        return each.addedMs <= availableMs ? each : null;
      });
      if (!ride) break;
      rows = ride.rows;
      spentMs = ride.addedMs;
      freeTokens -= ride.tokens;
      shares.set(sequence, ride.tokens);
      this.lastRide.set(sequence, this.ticks);
    }
    this.creditMs = Math.max(0, this.creditMs - spentMs);
  }

  /**
   * For a tick without others that is to be short.
   * @param decoding ascending by slot
   * @param fits whether a call may carry these rows, ascending by slot
   * @returns as many as fit, at least one; whoever has sat out longest first
   */
  nextInTurn(
    decoding: readonly Sequence[],
    fits: (sequences: readonly Sequence[]) => boolean,
  ): Set<Sequence> {
    const waiting = this.byTurn(decoding);
    const first = (count: number) => waiting.slice(0, count).sort((left, right) => left.slot! - right.slot!);
    let [most, tooMany] = [Math.min(1, waiting.length), waiting.length + 1];
    while (tooMany - most > 1) {
      const count = (most + tooMany) >> 1;
      if (fits(first(count))) most = count;
      else tooMany = count;
    }
    return new Set(waiting.slice(0, most));
  }

  /** @param sequences those of a tick without others */
  ride(sequences: Iterable<Sequence>): void {
    this.ticks += 1;
    for (const sequence of sequences) this.lastRide.set(sequence, this.ticks);
  }

  /** Who is seen for the first time queues up behind those that sit out already. */
  private byTurn(bulk: readonly Sequence[]): Sequence[] {
    for (const sequence of bulk) {
      if (!this.lastRide.has(sequence)) this.lastRide.set(sequence, this.ticks - 1);
    }
    const turn = (sequence: Sequence) => this.lastRide.get(sequence)!;
    return [...bulk].sort((left, right) => turn(left) - turn(right) || left.slot! - right.slot!);
  }
}

function smallestChunk({ pendingTokens }: Sequence): number {
  return Math.min(bulkChunkTokens, pendingTokens);
}

/** Tries ever shorter chunks of a sequence, by halving. @returns what the first that fits gives; null: none does */
function longest<Ride>(
  sequence: Sequence,
  freeTokens: number,
  attempt: (tokens: number) => Ride | null,
): Ride | null {
  const smallest = smallestChunk(sequence);
  for (let tokens = Math.min(sequence.pendingTokens, freeTokens); tokens >= smallest; ) {
    const ride = attempt(tokens);
    if (ride || tokens === smallest) return ride;
    tokens = Math.max(smallest, tokens >> 1);
  }
  return null;
}

/** @param rows ascending by slot */
function withRow(rows: readonly Row[], row: Row): Row[] {
  return rows.toSpliced(rows.findLastIndex(({ slot }) => slot < row.slot) + 1, 0, row);
}
