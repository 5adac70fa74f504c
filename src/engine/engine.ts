import type { OperationCosts, TickPlan, TickResult } from '../../scheduler/index.js';
import type { SamplingParameters } from './sampling-parameters.js';
import type { TextCodec } from './text-codec.js';

/** One operation between two decode calls. */
export interface SlotOperationReport {
  kind: 'copy' | 'save' | 'restore';
  /** Of the call itself; the data of a copy moves during the decode call that follows. */
  ms: number;
  /** Written to a snapshot; 0 for the others. */
  bytes: number;
  failed: boolean;
}

export interface TickTimings {
  /** Slot operations before the call. */
  operations?: readonly SlotOperationReport[];
  /** Building the native batch. */
  fillMs: number;
  /** The one native decode call. */
  decodeMs: number;
  /** From the end of decode until every row has its token. */
  samplingMs: number;
}

/** What can be done with the KV of a slot besides computing. */
export interface SlotAbilities {
  /** false: this model cannot forget the tail of a slot, so nothing can be reused. */
  reusePrefixes: boolean;
  /** Room for saved slots; 0: none can be saved. */
  snapshotBytes: number;
  /** Absent: not known before the first save. */
  snapshotBytesPerToken?: number;
  operationCosts: OperationCosts;
}

/** Hears of a sampled token; end tokens are tokens. */
export type TokenListener = (sequenceId: number, token: number) => void;

/**
 * What computes. Slots are numbered 0 to slotCount - 1; sequences are known by the scheduler's ids.
 * Nothing may be called while a `run` is pending, except opening and closing samplers.
 */
export interface Engine {
  readonly slotCount: number;
  /** Tokens one slot can hold. */
  readonly contextTokens: number;
  /** Most tokens in one decode call. */
  readonly batchTokens: number;
  readonly endTokens: ReadonlySet<number>;
  readonly slotAbilities: SlotAbilities;
  /**
   * Applies the plan's operations, decodes its rows in one native call and samples them in parallel.
   * The native call, or the first operation that takes long, has started when this returns; work done before awaiting
   * it runs in its shadow. An operation that fails loses its slot, or its snapshot, and nothing else.
   * Never rejects for a failed decode: that is an outcome.
   * @param onToken called once for every row that gets a token, before the result is there: while it works, the rows
   * after it are sampled. What it throws costs that row its token.
   */
  run(plan: TickPlan, onToken?: TokenListener): Promise<{ result: TickResult; timings: TickTimings }>;
  /**
   * Before the sequence's first sampled row is sampled; kept until closed, so a seed runs on from token to token.
   * @param generatedTokens how many at the end of `prompt` were generated before, for penalties; 0 when left out
   */
  openSampler(
    sequenceId: number,
    sampling: SamplingParameters,
    prompt: Uint32Array,
    generatedTokens?: number,
  ): void;
  closeSampler(sequenceId: number): void;
  /** Positions the native side holds for a slot. */
  slotTokens(slot: number): number;
  /** Empties a slot. */
  clearSlot(slot: number): void;
  close(): Promise<void>;
}

/** A loaded model: what computes, and what speaks its language. */
export interface ModelRuntime {
  engine: Engine;
  codec: TextCodec;
  /** Name for clients, without path or file ending. */
  name: string;
  sizeBytes: number;
  /** Most compute threads a tick may use. */
  threads: number;
  /** What computes, in words. */
  native: string;
}
