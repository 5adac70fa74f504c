import {
  type SaveReport,
  type SlotOperation,
  type TickPlan,
  type TickResult,
  writtenSlot,
} from '../../scheduler/index.js';
import { Random } from './random.js';
import type { Fault, FaultKind, Scenario } from './scenario.js';
import { SlotStore } from './slot-store.js';

const slowCallFactor = 30;
const bytesPerToken = 1000;
/** A second thread takes this share of the time, plus barriers worth this many milliseconds. */
const secondThread = { share: 0.6, barrierMs: 12 };

/** A `TickResult` of which the driver has yet to say how long it took. */
export type DecodeOutcome =
  | Omit<Extract<TickResult, { outcome: 'decoded' }>, 'decodeMs'>
  | Exclude<TickResult, { outcome: 'decoded' }>;

/** What a planned call does to the slots: an engine with llama.cpp's manners and a run of bad luck. */
export class SimulatedMachine {
  readonly store: SlotStore;
  /** Slots that lost KV which nobody has looked at since. */
  readonly unnoticedLosses = new Set<number>();
  /** Snapshots taken of such slots. */
  private readonly poorSnapshots = new Set<number>();
  private readonly scenario: Scenario;
  private readonly saltOf: (sequenceId: number) => string;

  constructor(scenario: Scenario, saltOf: (sequenceId: number) => string) {
    this.saltOf = saltOf;
    this.scenario = scenario;
    this.store = new SlotStore(scenario.config.slotCount, scenario.meanLengthTokens);
  }

  /** Between two ticks a slot's KV shrinks or vanishes; what it holds may belong to someone or be cache. */
  loseBefore(faults: readonly Fault[]): void {
    const fault = find(faults, 'lost-slot-before');
    if (fault) this.lose(fault.draw % this.store.slotCount, fault.draw);
  }

  /** @returns what became of the saves, and the slots that had to be emptied because an operation was refused */
  applyOperations(plan: TickPlan, faults: readonly Fault[]): { saves: SaveReport[]; lost: number[] } {
    const refusal = find(faults, 'refused-operations');
    const isFull = find(faults, 'snapshot-store-full') !== undefined;
    const saves: SaveReport[] = [];
    const lost: number[] = [];
    plan.operations.forEach((operation, index) => {
      const written = writtenSlot(operation);
      const isRefused = refusal && (lost.length === 0 || (refusal.draw >>> (index % 31)) & 1);
      if (operation.kind === 'save') saves.push(this.save(operation.slot, operation.snapshotId, isFull));
      else if (isRefused && mayBeRefused(operation)) lost.push(this.refuse(operation.slot));
      else {
        this.apply(operation);
        const isShort = written !== null && this.store.length(written.slot) < written.keepTokens;
        if (isShort) lost.push(this.refuse(written.slot));
      }
    });
    if (lost.length === 0) this.store.moveCopies();
    return { saves, lost };
  }

  /** Decodes and samples, unless positions do not continue what the slots hold: llama.cpp refuses such a batch. */
  decode(plan: TickPlan, faults: readonly Fault[]): DecodeOutcome {
    const isContiguous = plan.rows.every((row) => this.store.length(row.slot) === row.firstPosition);
    if (!isContiguous) return { outcome: 'failed', message: 'positions do not continue the sequence' };
    const failure = find(faults, 'failed-call');
    if (failure) {
      this.scramble(plan, failure.draw);
      return { outcome: 'failed', message: 'simulated failure' };
    }
    const sampledTokens = plan.rows.map(({ slot, tokens, sample, sequenceId }) => {
      const salt = this.saltOf(sequenceId);
      for (const token of tokens) this.store.append(slot, token, salt);
      return sample ? this.store.sample(slot) : -1;
    });
    const unsampled = find(faults, 'failed-sampling');
    if (unsampled) sampledTokens[unsampled.draw % sampledTokens.length] = -1;
    const loss = find(faults, 'lost-slot-during');
    if (loss) this.lose(plan.rows[loss.draw % plan.rows.length]!.slot, loss.draw);
    return { outcome: 'decoded', sampledTokens };
  }

  /** The driver compared these slots with the account. */
  noticed(plan: TickPlan): void {
    for (const { slot } of plan.rows) this.unnoticedLosses.delete(slot);
  }

  durationMs(plan: TickPlan, faults: readonly Fault[]): number {
    const { perPassMs, perTokenMs, perContextTokenMs, noiseSigma } = this.scenario.cost;
    const contextTokens = plan.rows.reduce((sum, row) => sum + this.store.length(row.slot), 0);
    const { passes, tokens } = plan.work;
    const aloneMs = perPassMs * passes + perTokenMs * tokens + perContextTokenMs * contextTokens;
    const costMs = plan.threads > 1 ? aloneMs * secondThread.share + secondThread.barrierMs : aloneMs;
    const noise =
      noiseSigma === 0 ? 1 : new Random(this.scenario.seed, `noise ${plan.tick}`).lognormalFactor(noiseSigma);
    return costMs * noise * (find(faults, 'slow-call') ? slowCallFactor : 1);
  }

  private apply(operation: SlotOperation): void {
    switch (operation.kind) {
      case 'truncate':
        if (operation.keepTokens === 0) this.unnoticedLosses.delete(operation.slot);
        this.store.truncate(operation.slot, operation.keepTokens);
        return;
      case 'copy':
        this.inherit(operation.toSlot, this.unnoticedLosses.has(operation.fromSlot));
        this.store.copy(operation.fromSlot, operation.toSlot, operation.keepTokens);
        return;
      case 'restore':
        this.inherit(operation.slot, this.poorSnapshots.has(operation.snapshotId));
        if (!this.store.restore(operation.slot, operation.snapshotId, operation.keepTokens)) {
          this.store.truncate(operation.slot, 0);
        }
        return;
      case 'forget':
        this.store.forget(operation.snapshotId);
        return;
      default:
        throw new Error(`the simulated machine does not know ${JSON.stringify(operation)}`);
    }
  }

  private save(slot: number, snapshotId: number, isFull: boolean): SaveReport {
    if (isFull) return { snapshotId, bytes: null };
    if (this.unnoticedLosses.has(slot)) this.poorSnapshots.add(snapshotId);
    if (!this.store.save(slot, snapshotId)) return { snapshotId, bytes: null };
    return { snapshotId, bytes: this.store.length(slot) * bytesPerToken };
  }

  private refuse(slot: number): number {
    this.store.truncate(slot, 0);
    this.unnoticedLosses.delete(slot);
    return slot;
  }

  private inherit(slot: number, isPoor: boolean): void {
    if (isPoor) this.unnoticedLosses.add(slot);
    else this.unnoticedLosses.delete(slot);
  }

  private lose(slot: number, draw: number): void {
    const keepTokens = (draw >>> 16) % 2 === 0 ? 0 : Math.floor(this.store.length(slot) / 2);
    this.store.truncate(slot, keepTokens);
    this.unnoticedLosses.add(slot);
  }

  /**
   * Fillers are gone when a call has succeeded. After a failed call the slots hold all of their rows, some,
   * none, or something else.
   */
  private scramble(plan: TickPlan, draw: number): void {
    plan.rows.forEach(({ slot, tokens }, index) => {
      const mode = (draw >>> ((index * 2) % 30)) & 3;
      const written = mode === 0 ? 0 : mode === 1 ? Math.ceil(tokens.length / 2) : tokens.length;
      for (let each = 0; each < written; each += 1) {
        this.store.append(slot, mode === 3 ? each : tokens[each]!, '');
      }
    });
    for (const { slot, tokens } of plan.fillers ?? []) {
      for (let each = 0; each < tokens; each += 1) this.store.append(slot, draw, '');
    }
  }
}

/** Emptying a slot always works, and so does a copy between slots of one context. */
function mayBeRefused(
  operation: SlotOperation,
): operation is Extract<SlotOperation, { kind: 'truncate' | 'restore' }> {
  return (operation.kind === 'truncate' || operation.kind === 'restore') && operation.keepTokens > 0;
}

export function find(faults: readonly Fault[], kind: FaultKind): Fault | undefined {
  return faults.find((fault) => fault.kind === kind);
}
