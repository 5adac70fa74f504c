/**
 * The only file that touches node-llama-cpp's internals. Its public `sequence.evaluate()` reaches a third of the
 * throughput of a loop over the low-level context, so we drive that directly. The dependency is pinned to one exact
 * version; `openNativeContext` names everything that is missing, should it ever change.
 * Facts about these calls: node_modules/node-llama-cpp/llama/addon/AddonContext.cpp.
 */
import type { LlamaContext, LlamaModel } from 'node-llama-cpp';
import type { SamplingParameters } from '../sampling-parameters.js';

/** `AddonContext` of the addon. No call is allowed while `decodeBatch` runs, except creating samplers. */
export interface NativeContext {
  /** Starts a new batch that can hold `tokens` tokens. */
  initBatch(tokens: number): void;
  /** @returns for each entry of `logitIndexes` (offsets into `tokens`), its index in the batch */
  addToBatch(
    slot: number,
    firstPosition: number,
    tokens: Uint32Array,
    logitIndexes: Uint32Array,
  ): Uint32Array;
  decodeBatch(): Promise<void>;
  /** Runs on libuv's pool. @returns -1 when there is no candidate */
  sampleToken(batchIndex: number, sampler: NativeSampler): Promise<number>;
  /** The same, with logits of the `includeTop` best candidates as a flat list of token, logit, token, ... */
  sampleToken(
    batchIndex: number,
    sampler: NativeSampler,
    probabilities: false,
    confidence: false,
    logits: [
      tokens: readonly number[],
      includeMax: false,
      includeMin: false,
      includeSelected: false,
      includeTop: number,
    ],
  ): Promise<[token: number, probabilities: undefined, confidence: undefined, logits: number[]]>;
  /** Empties a slot. */
  disposeSequence(slot: number): void;
  /** Removes positions `from` up to, not including, `to`; -1: to the end. @returns false: this model cannot */
  removeTokenCellsFromSequence(slot: number, from: number, to: number): boolean;
  /**
   * The whole lane: asking for less aborts the process. The data moves in the next `decodeBatch`.
   * @returns last position copied
   */
  copySequenceStateFromOtherSequence(toSlot: number, fromSlot: number): Promise<number>;
  /** Used cells only. @returns bytes written; rejects when the file cannot be written */
  saveSequenceStateToFile(path: string, slot: number, tokens: Uint32Array): Promise<number>;
  /** Replaces what the slot holds. @returns the tokens saved with it; rejects on a missing or foreign file */
  loadSequenceStateFromFile(path: string, slot: number, contextTokens: number): Promise<Uint32Array>;
  /** First position that every layer still holds. @returns -1 for an empty slot */
  getSequenceKvCacheMinPosition(slot: number): number;
  /** @returns -1 for an empty slot */
  getSequenceKvCacheMaxPosition(slot: number): number;
  setThreads(threads: number): void;
}

/** `AddonSampler` of the addon: holds a candidate array of the vocabulary's size, the seed's state and penalties. */
export interface NativeSampler {
  applyConfig(config: NativeSamplerConfig): void;
  dispose(): void;
}

interface NativeSamplerConfig {
  temperature: number;
  seed: number;
  topK?: number;
  topP?: number;
  minP?: number;
  repeatPenaltyTokens?: Uint32Array;
  repeatPenaltyMaxTokens?: number;
  repeatPenalty?: number;
  repeatPenaltyPresencePenalty?: number;
  repeatPenaltyFrequencyPenalty?: number;
  tokenBiasKeys?: Uint32Array;
  tokenBiasValues?: Float32Array;
}

interface ModelInternals {
  _model?: unknown;
  _llama?: { _bindings?: { AddonSampler?: new (model: unknown) => NativeSampler } };
}

const contextMethods: readonly (keyof NativeContext)[] = [
  'initBatch',
  'addToBatch',
  'decodeBatch',
  'sampleToken',
  'disposeSequence',
  'removeTokenCellsFromSequence',
  'copySequenceStateFromOtherSequence',
  'saveSequenceStateToFile',
  'loadSequenceStateFromFile',
  'getSequenceKvCacheMinPosition',
  'getSequenceKvCacheMaxPosition',
  'setThreads',
];

/** @throws Error naming every internal that this version of node-llama-cpp lacks */
export function openNativeContext(
  model: LlamaModel,
  context: LlamaContext,
): { native: NativeContext; createSampler: () => NativeSampler } {
  const native = (context as unknown as { _ctx?: NativeContext })._ctx;
  const { _model: nativeModel, _llama: llama } = model as unknown as ModelInternals;
  const Sampler = llama?._bindings?.AddonSampler;
  const missing: string[] = contextMethods
    .filter((name) => typeof native?.[name] !== 'function')
    .map((name) => `context._ctx.${name}`);
  if (!nativeModel) missing.push('model._model');
  if (typeof Sampler !== 'function') missing.push('llama._bindings.AddonSampler');
  if (!native || !Sampler || missing.length > 0) {
    throw new Error(
      `this version of node-llama-cpp lacks ${missing.join(', ')}; chairlift needs exactly 3.22.1`,
    );
  }
  return { native, createSampler: () => new Sampler(nativeModel) };
}

export interface TokenLogit {
  token: number;
  logit: number;
}

/** The `count` best candidates of a decoded row, best first. */
export async function topCandidates(
  native: NativeContext,
  batchIndex: number,
  sampler: NativeSampler,
  count: number,
): Promise<TokenLogit[]> {
  const [, , , flat] = await native.sampleToken(batchIndex, sampler, false, false, [
    [],
    false,
    false,
    false,
    count,
  ]);
  return Array.from({ length: flat.length / 2 }, (_, index) => ({
    token: flat[2 * index]!,
    logit: flat[2 * index + 1]!,
  }));
}

/**
 * The addon has one penalty sampler for all three penalties. Presence and frequency count generated tokens only
 * (OpenAI); a repetition penalty counts the prompt too (vLLM), and then so do the other two.
 * @param penalized tokens that count from the start
 */
export function samplerConfig(
  sampling: SamplingParameters,
  penalized: Uint32Array,
  endTokens: ReadonlySet<number>,
  contextTokens: number,
): NativeSamplerConfig {
  const config: NativeSamplerConfig = { temperature: sampling.temperature, seed: sampling.seed };
  if (sampling.topK > 0) config.topK = sampling.topK;
  if (sampling.topP < 1) config.topP = sampling.topP;
  if (sampling.minP > 0) config.minP = sampling.minP;
  const { presencePenalty, frequencyPenalty, repetitionPenalty } = sampling;
  if (presencePenalty !== 0 || frequencyPenalty !== 0 || repetitionPenalty !== 1) {
    config.repeatPenaltyTokens = penalized;
    config.repeatPenaltyMaxTokens = contextTokens;
    config.repeatPenalty = repetitionPenalty;
    config.repeatPenaltyPresencePenalty = presencePenalty;
    config.repeatPenaltyFrequencyPenalty = frequencyPenalty;
  }
  const bias = new Map(sampling.logitBias);
  if (sampling.ignoreEndToken) for (const token of endTokens) bias.set(token, Number.NEGATIVE_INFINITY);
  if (bias.size > 0) {
    config.tokenBiasKeys = Uint32Array.from(bias.keys());
    config.tokenBiasValues = Float32Array.from(bias.values());
  }
  return config;
}
