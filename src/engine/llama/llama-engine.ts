import type { LlamaContext, LlamaModel } from 'node-llama-cpp';
import type { Row, TickPlan, TickResult } from '../../../scheduler/index.js';
import type { Engine, SlotAbilities, SlotOperationReport, TickTimings, TokenListener } from '../engine.js';
import { greedySampling, type SamplingParameters } from '../sampling-parameters.js';
import {
  type NativeContext,
  type NativeSampler,
  openNativeContext,
  samplerConfig,
  type TokenLogit,
  topCandidates,
} from './native-context.js';
import { probeSlots } from './probe-slots.js';
import { Samplers } from './samplers.js';
import { SlotOperations } from './slot-operations.js';
import type { SnapshotStore } from './snapshot-store.js';

const lastTokenOnly = (length: number) => Uint32Array.of(length - 1);
const none = new Uint32Array(0);

interface SampledRow {
  rowIndex: number;
  batchIndex: number;
  sequenceId: number;
}

interface SlotEnd {
  slot: number;
  position: number;
}

type SampledTokens = Required<
  Pick<Extract<TickResult, { outcome: 'decoded' }>, 'sampledTokens' | 'samplingErrors'>
>;

/** llama.cpp in this process: one native decode call per tick, all rows sampled in parallel on libuv's pool. */
export class LlamaEngine implements Engine {
  readonly slotCount: number;
  readonly contextTokens: number;
  readonly batchTokens: number;
  readonly endTokens: ReadonlySet<number>;
  readonly slotAbilities: SlotAbilities;
  private readonly context: LlamaContext;
  private readonly native: NativeContext;
  private readonly createSampler: () => NativeSampler;
  private readonly operations: SlotOperations;
  private readonly snapshots: SnapshotStore | null;
  private readonly samplers: Samplers;

  /**
   * @param context created with one sequence per slot and `batchSize` as the tick's token limit
   * @param options.reusePrefixes whether tails may be cut, as far as the model's file says
   * @param options.snapshots the engine's own from now on
   */
  static async open(
    model: LlamaModel,
    context: LlamaContext,
    options: {
      endTokens: ReadonlySet<number>;
      reusePrefixes: boolean;
      snapshots: { store: SnapshotStore; limitBytes: number } | null;
      /** Whether libuv's pool has one thread, so that no two rows are sampled at once. */
      samplesOneByOne: boolean;
    },
  ): Promise<LlamaEngine> {
    const store = options.snapshots?.store ?? null;
    const opened = openNativeContext(model, context);
    const shape = { contextTokens: context.contextSize, batchTokens: context.batchSize };
    const probed = await probeSlots(opened.native, shape, store);
    return new LlamaEngine(opened, context, options, store, {
      reusePrefixes: options.reusePrefixes && probed.canForgetTails,
      snapshotBytes: probed.canSave ? options.snapshots!.limitBytes : 0,
      ...(probed.canSave ? { snapshotBytesPerToken: probed.bytesPerToken } : {}),
      operationCosts: probed.operationCosts,
    });
  }

  private constructor(
    { native, createSampler }: ReturnType<typeof openNativeContext>,
    context: LlamaContext,
    { endTokens, samplesOneByOne }: { endTokens: ReadonlySet<number>; samplesOneByOne: boolean },
    snapshots: SnapshotStore | null,
    slotAbilities: SlotAbilities,
  ) {
    this.slotAbilities = slotAbilities;
    this.samplers = new Samplers(createSampler, samplesOneByOne);
    this.context = context;
    this.native = native;
    this.createSampler = createSampler;
    this.slotCount = context.totalSequences;
    this.contextTokens = context.contextSize;
    this.batchTokens = context.batchSize;
    this.snapshots = snapshots;
    this.operations = new SlotOperations(native, this, snapshots);
    this.endTokens = endTokens;
  }

  openSampler(
    sequenceId: number,
    sampling: SamplingParameters,
    prompt: Uint32Array,
    generatedTokens = 0,
  ): void {
    const penalized =
      sampling.repetitionPenalty === 1 ? prompt.subarray(prompt.length - generatedTokens) : prompt;
    const config = samplerConfig(sampling, penalized, this.endTokens, this.contextTokens);
    this.samplers.open(sequenceId, sampling, config);
  }

  closeSampler(sequenceId: number): void {
    this.samplers.close(sequenceId);
  }

  slotTokens(slot: number): number {
    return this.native.getSequenceKvCacheMaxPosition(slot) + 1;
  }

  clearSlot(slot: number): void {
    this.native.disposeSequence(slot);
  }

  async run(plan: TickPlan, onToken?: TokenListener): Promise<{ result: TickResult; timings: TickTimings }> {
    const applying = this.operations.apply(plan.operations);
    const { lostSlots, saves, reports } = applying instanceof Promise ? await applying : applying;
    if (lostSlots.length > 0) {
      const timings = { fillMs: 0, decodeMs: 0, samplingMs: 0, operations: reports };
      return { result: { outcome: 'slots-lost', slots: lostSlots, saves }, timings };
    }
    const fillStartedMs = performance.now();
    const { sampledRows, fillers } = this.fillBatch(plan);
    const startedMs = performance.now();
    const fillMs = startedMs - fillStartedMs;
    try {
      await this.native.decodeBatch();
    } catch (error) {
      const timings = { fillMs, decodeMs: performance.now() - startedMs, samplingMs: 0, operations: reports };
      return { result: { outcome: 'failed', message: `decode failed: ${String(error)}`, saves }, timings };
    }
    this.operations.decoded();
    for (const { slot, position } of fillers) {
      this.native.removeTokenCellsFromSequence(slot, position, -1);
    }
    const decodedMs = performance.now();
    const sampled = await this.sample(plan.rows, sampledRows, onToken);
    const decodeMs = decodedMs - startedMs;
    const timings = { fillMs, decodeMs, samplingMs: performance.now() - decodedMs, operations: reports };
    return {
      result: { outcome: 'decoded', ...sampled, decodeMs, saves, fileMs: fileMsOf(reports) },
      timings,
    };
  }

  /**
   * The best candidates after `tokens`, computed alone in slot 0: says whether a greedy choice was a near tie.
   * For idle engines only; what slot 0 held is lost.
   */
  async topLogits(tokens: Uint32Array, count: number): Promise<TokenLogit[]> {
    this.native.disposeSequence(0);
    let batchIndex = 0;
    for (let from = 0; from < tokens.length; from += this.batchTokens) {
      const chunk = tokens.subarray(from, from + this.batchTokens);
      this.native.initBatch(chunk.length);
      [batchIndex = 0] = this.native.addToBatch(0, from, chunk, lastTokenOnly(chunk.length));
      await this.native.decodeBatch();
    }
    const sampler = this.createSampler();
    sampler.applyConfig(samplerConfig(greedySampling, none, this.endTokens, this.contextTokens));
    const candidates = await topCandidates(this.native, batchIndex, sampler, count);
    sampler.dispose();
    this.native.disposeSequence(0);
    return candidates;
  }

  async close(): Promise<void> {
    this.samplers.closeAll();
    await this.context.dispose();
    this.snapshots?.close();
  }

  /** @returns also where fillers begin: a slot without a row may, unnoticed, hold something else than planned */
  private fillBatch(plan: TickPlan): { sampledRows: SampledRow[]; fillers: SlotEnd[] } {
    const sampledRows: SampledRow[] = [];
    const fillers: SlotEnd[] = [];
    this.native.setThreads(plan.threads);
    this.native.initBatch(plan.work.tokens);
    const waiting = [...(plan.fillers ?? [])];
    const fill = (slot: number, position: number) => {
      this.native.addToBatch(slot, position, new Uint32Array(waiting.shift()!.tokens), none);
      fillers.push({ slot, position });
    };
    const fillBelow = (end: number) => {
      while (waiting.length > 0 && waiting[0]!.slot < end)
        fill(waiting[0]!.slot, this.slotTokens(waiting[0]!.slot));
    };
    plan.rows.forEach(({ slot, firstPosition, tokens, sample, sequenceId }, rowIndex) => {
      fillBelow(slot);
      const logitIndexes = sample ? lastTokenOnly(tokens.length) : none;
      const [batchIndex] = this.native.addToBatch(slot, firstPosition, tokens, logitIndexes);
      if (batchIndex !== undefined) sampledRows.push({ rowIndex, batchIndex, sequenceId });
      if (waiting[0]?.slot === slot) fill(slot, firstPosition + tokens.length);
    });
    fillBelow(this.slotCount);
    return { sampledRows, fillers };
  }

  /** A row that cannot be sampled costs its own sequence, no other. */
  private async sample(
    rows: readonly Row[],
    sampledRows: readonly SampledRow[],
    onToken?: TokenListener,
  ): Promise<SampledTokens> {
    const sampledTokens = new Array<number>(rows.length).fill(-1);
    const samplingErrors = new Map<number, string>();
    const sampling = sampledRows.map(async ({ rowIndex, batchIndex, sequenceId }) => {
      const token = await this.native.sampleToken(batchIndex, this.samplers.get(sequenceId));
      if (token >= 0) onToken?.(sequenceId, token);
      sampledTokens[rowIndex] = token;
    });
    (await Promise.allSettled(sampling)).forEach((settled, index) => {
      if (settled.status === 'fulfilled') return;
      samplingErrors.set(sampledRows[index]!.rowIndex, `sampling failed: ${String(settled.reason)}`);
    });
    return { sampledTokens, samplingErrors };
  }
}

function fileMsOf(reports: readonly SlotOperationReport[]): number {
  return reports.reduce((sum, { kind, ms }) => (kind === 'copy' ? sum : sum + ms), 0);
}
