import type { SamplingParameters } from '../sampling-parameters.js';
import type { NativeSampler } from './native-context.js';

type SamplerConfig = Parameters<NativeSampler['applyConfig']>[0];

/** The samplers of running sequences. */
export class Samplers {
  private readonly bySequence = new Map<number, NativeSampler>();
  /**
   * For all greedy sequences, by whether end tokens are ignored: a sampler keeps nothing of them, and the candidates it
   * fills in for every row (12 bytes per token of the vocabulary) stay in the processor's cache and need no new pages.
   */
  private readonly greedy = new Map<boolean, NativeSampler>();
  private readonly create: () => NativeSampler;
  private readonly shareGreedy: boolean;

  /** @param shareGreedy only where no two rows are sampled at once */
  constructor(create: () => NativeSampler, shareGreedy: boolean) {
    this.create = create;
    this.shareGreedy = shareGreedy;
  }

  get(sequenceId: number): NativeSampler {
    const sampler = this.bySequence.get(sequenceId);
    if (!sampler) throw new Error(`sequence ${sequenceId} has no sampler`);
    return sampler;
  }

  open(sequenceId: number, sampling: SamplingParameters, config: SamplerConfig): void {
    const isShared = this.shareGreedy && isPlainGreedy(sampling);
    let sampler = isShared ? this.greedy.get(sampling.ignoreEndToken) : undefined;
    if (!sampler) {
      sampler = this.create();
      sampler.applyConfig(config);
      if (isShared) this.greedy.set(sampling.ignoreEndToken, sampler);
    }
    this.bySequence.set(sequenceId, sampler);
  }

  close(sequenceId: number): void {
    const sampler = this.bySequence.get(sequenceId);
    this.bySequence.delete(sequenceId);
    if (sampler && ![...this.greedy.values()].includes(sampler)) sampler.dispose();
  }

  closeAll(): void {
    for (const sequenceId of [...this.bySequence.keys()]) this.close(sequenceId);
    for (const sampler of this.greedy.values()) sampler.dispose();
    this.greedy.clear();
  }
}

/** The likeliest token, whatever came before. */
function isPlainGreedy(sampling: SamplingParameters): boolean {
  const { temperature, presencePenalty, frequencyPenalty, repetitionPenalty, logitBias } = sampling;
  const penalties = presencePenalty !== 0 || frequencyPenalty !== 0 || repetitionPenalty !== 1;
  return temperature === 0 && !penalties && logitBias.size === 0;
}
