import { setTimeout as sleep } from 'node:timers/promises';
import { defaultOperationCosts, type TickPlan, type TickResult } from '../../../scheduler/index.js';
import type {
  Engine,
  ModelRuntime,
  SlotAbilities,
  SlotOperationReport,
  TickTimings,
  TokenListener,
} from '../engine.js';
import type { SamplingParameters } from '../sampling-parameters.js';
import { SimulatedCodec } from './simulated-codec.js';
import { SimulatedSlots, simulatedEndToken } from './simulated-slots.js';

/** Milliseconds of a decode call: `perPassMs * passes + perTokenMs * tokens + perContextTokenMs * context`. */
export interface SimulatedCost {
  perPassMs: number;
  perTokenMs: number;
  /** Per token already held by the slots of the call. */
  perContextTokenMs: number;
}

/** About SmolLM2-135M on two cores. */
export const defaultSimulatedCost: SimulatedCost = {
  perPassMs: 6,
  perTokenMs: 0.8,
  perContextTokenMs: 0.0005,
};

export interface SimulatedEngineOptions {
  slotCount: number;
  contextTokens: number;
  batchTokens: number;
  cost: SimulatedCost;
  /** After how many tokens a generation ends by itself, on average. */
  meanLengthTokens: number;
  /** Room for saved slots, a kilobyte a token; none by default. */
  snapshotBytes?: number;
}

/** Everything but the arithmetic: keeps slots like a model, takes its time by a cost model, samples greedily. */
export class SimulatedEngine implements Engine {
  readonly slotCount: number;
  readonly contextTokens: number;
  readonly batchTokens: number;
  readonly endTokens: ReadonlySet<number> = new Set([simulatedEndToken]);
  readonly slotAbilities: SlotAbilities;
  private readonly cost: SimulatedCost;
  private readonly slots: SimulatedSlots;
  private readonly neverEnding = new Set<number>();

  constructor(options: SimulatedEngineOptions) {
    this.slotCount = options.slotCount;
    this.contextTokens = options.contextTokens;
    this.batchTokens = options.batchTokens;
    this.cost = options.cost;
    this.slotAbilities = {
      reusePrefixes: true,
      snapshotBytes: options.snapshotBytes ?? 0,
      operationCosts: defaultOperationCosts,
    };
    this.slots = new SimulatedSlots(options.slotCount, options.meanLengthTokens);
  }

  async run(plan: TickPlan, onToken?: TokenListener): Promise<{ result: TickResult; timings: TickTimings }> {
    const { perPassMs, perTokenMs, perContextTokenMs } = this.cost;
    const contextTokens = this.slots.contextTokens(plan);
    const decodeMs =
      perPassMs * plan.work.passes + perTokenMs * plan.work.tokens + perContextTokenMs * contextTokens;
    const startedMs = performance.now();
    await sleep(decodeMs);
    const sleptMs = performance.now() - startedMs;
    const result = this.slots.apply(plan, (sequenceId) => this.neverEnding.has(sequenceId), sleptMs);
    result.sampledTokens.forEach((token, index) => {
      if (token >= 0) onToken?.(plan.rows[index]!.sequenceId, token);
    });
    return {
      result,
      timings: { fillMs: 0, decodeMs: sleptMs, samplingMs: 0, operations: reportsOf(plan, result) },
    };
  }

  openSampler(sequenceId: number, sampling: SamplingParameters): void {
    if (sampling.ignoreEndToken) this.neverEnding.add(sequenceId);
  }

  closeSampler(sequenceId: number): void {
    this.neverEnding.delete(sequenceId);
  }

  slotTokens(slot: number): number {
    return this.slots.tokens(slot);
  }

  clearSlot(slot: number): void {
    this.slots.clear(slot);
  }

  async close(): Promise<void> {}
}

function reportsOf({ operations }: TickPlan, { saves = [] }: TickResult): SlotOperationReport[] {
  const bytesOf = new Map(saves.map(({ snapshotId, bytes }) => [snapshotId, bytes ?? 0]));
  return operations.flatMap((operation) => {
    if (operation.kind === 'truncate' || operation.kind === 'forget') return [];
    const bytes = operation.kind === 'save' ? bytesOf.get(operation.snapshotId)! : 0;
    return { kind: operation.kind, ms: 0, bytes, failed: false };
  });
}

export function createSimulatedRuntime(options: SimulatedEngineOptions): ModelRuntime {
  return {
    engine: new SimulatedEngine(options),
    codec: new SimulatedCodec(),
    name: 'simulated',
    sizeBytes: 0,
    threads: 1,
    native: 'simulation',
  };
}
