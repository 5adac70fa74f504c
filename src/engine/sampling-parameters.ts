/** How the next token is drawn. Defaults are OpenAI's, except that penalties and filters are off. */
export interface SamplingParameters {
  /** 0 is greedy. Range 0 to 2. */
  temperature: number;
  /** Nucleus mass, 0 (exclusive) to 1; 1 is off. */
  topP: number;
  /** 0 is off (the whole vocabulary). */
  topK: number;
  /** 0 is off. Range 0 to 1. */
  minP: number;
  /** Same seed and same request: same output. */
  seed: number;
  /** Added once per token already generated. Range -2 to 2. */
  presencePenalty: number;
  /** Added per occurrence of a token already generated. Range -2 to 2. */
  frequencyPenalty: number;
  /** Divides the logits of tokens in the prompt and the output; 1 is off. */
  repetitionPenalty: number;
  /** Token id to bias in logits, -100 to 100. */
  logitBias: ReadonlyMap<number, number>;
  /** Never choose an end-of-generation token (load tests pin their lengths with it). */
  ignoreEndToken: boolean;
}

export const greedySampling: SamplingParameters = {
  temperature: 0,
  topP: 1,
  topK: 0,
  minP: 0,
  seed: 0,
  presencePenalty: 0,
  frequencyPenalty: 0,
  repetitionPenalty: 1,
  logitBias: new Map(),
  ignoreEndToken: false,
};
