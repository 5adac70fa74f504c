import type { OperationCosts } from './operation-costs.js';
import type { TickWork } from './tick-work.js';

/** The scheduler's vocabulary towards the engine: what it plans for a tick and what it is told about it. */

/** Limits that hold for the life of a scheduler. */
export interface SchedulerConfig {
  /** KV lanes; at most 256 (llama.cpp's LLAMA_MAX_SEQ). */
  slotCount: number;
  /** Tokens one slot can hold: prompt plus completion. */
  contextTokens: number;
  /** Most tokens in one decode call. */
  batchTokens: number;
  /** Most sequences that wait for a slot. */
  maxWaiting: number;
  /** Most prompt tokens that wait for a slot. */
  maxWaitingTokens: number;
  /** Tokens that end a generation (EOS, EOT, ...). */
  endTokens: ReadonlySet<number>;
  /** Bytes of slot states parked outside of slots at most; 0, the default: none. */
  snapshotBytes?: number;
  /** As far as it is known before the first save; snapshots are made one at a time until then. */
  snapshotBytesPerToken?: number;
  /** false for models that cannot forget the tail of a slot: they compute every prompt from its start. */
  reusePrefixes?: boolean;
  operationCosts?: OperationCosts;
}

/** The tokens of one slot in one decode call. */
export interface Row {
  sequenceId: number;
  slot: number;
  /** Position of the first token in the slot. */
  firstPosition: number;
  tokens: Uint32Array;
  /** Whether the last token's logits are sampled: true once the row reaches the end of what is known. */
  sample: boolean;
}

/**
 * Tokens nobody wants, forgotten right after the call: in a slot without a row they keep the rows of neighbouring slots
 * in one pass, behind a chunk of prompt they make its pass a multiple of four, for less than that costs otherwise.
 */
export interface Filler {
  slot: number;
  /** Where the slot ends, with the tokens of its row. */
  position: number;
  /** How many. */
  tokens: number;
}

/**
 * Work on a slot's KV between two decode calls. llama.cpp moves the data of a copy only in the next decode call, so a
 * plan lists saves and restores before copies, and never restores into a slot that is copied from.
 */
export type SlotOperation =
  /** Keep the first `keepTokens` positions; 0 clears the slot. */
  | { kind: 'truncate'; slot: number; keepTokens: number }
  /** `toSlot` gets the first `keepTokens` positions of `fromSlot`, which keeps all it holds. */
  | { kind: 'copy'; fromSlot: number; toSlot: number; keepTokens: number }
  /** Park what the slot holds outside of it; the slot keeps it. */
  | { kind: 'save'; slot: number; snapshotId: number; tokens: Uint32Array }
  /** The slot gets the first `keepTokens` positions of a snapshot, which stays. */
  | { kind: 'restore'; slot: number; snapshotId: number; keepTokens: number }
  /** The snapshot is not needed any more. */
  | { kind: 'forget'; snapshotId: number };

/** The slot whose content an operation replaces or cuts, and what it holds afterwards; null: none. */
export function writtenSlot(operation: SlotOperation): { slot: number; keepTokens: number } | null {
  switch (operation.kind) {
    case 'truncate':
    case 'restore':
      return { slot: operation.slot, keepTokens: operation.keepTokens };
    case 'copy':
      return { slot: operation.toSlot, keepTokens: operation.keepTokens };
    case 'save':
    case 'forget':
      return null;
  }
}

export interface SaveReport {
  snapshotId: number;
  /** null: it could not be saved. */
  bytes: number | null;
}

/** One planned decode call; an "iteration" in Orca, a "step" in vLLM. Rows ascend by slot. */
export interface TickPlan {
  tick: number;
  /** Applied in order before the rows are decoded. */
  operations: readonly SlotOperation[];
  rows: readonly Row[];
  /** Ascending by slot; absent: none. */
  fillers?: readonly Filler[];
  work: TickWork;
  /** Compute threads for this call. */
  threads: number;
}

export type TickResult =
  /** `sampledTokens[i]` belongs to `rows[i]`; -1 where the row was not sampled or sampling gave nothing. */
  (
    | {
        outcome: 'decoded';
        sampledTokens: readonly number[];
        /** By index of the row, where it is known why sampling gave nothing. */
        samplingErrors?: ReadonlyMap<number, string>;
        decodeMs: number;
      }
    /** Nothing was decoded: these slots could not be brought into the planned state and are now empty. */
    | { outcome: 'slots-lost'; slots: readonly number[] }
    /** The decode call failed; what the planned slots hold is unknown. */
    | { outcome: 'failed'; message: string }
  ) & {
    /** Of every save that was tried. */
    saves?: readonly SaveReport[];
    /** Milliseconds that saves and restores took together; absent: not measured. */
    fileMs?: number;
  };
