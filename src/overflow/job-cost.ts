import { overflowCost } from '../../scheduler/index.js';
import type { GenerationRequest } from '../serving/serving-core.js';

/** Assumed where a request leaves its length to the model. */
const usualMaxTokens = 256;

export function choicesOf({
  prompts,
  choicesPerPrompt,
}: Pick<GenerationRequest, 'prompts' | 'choicesPerPrompt'>): number {
  return prompts.length * choicesPerPrompt;
}

/** What the request will probably cost its tenant, in steps of virtual time. */
export function costOf(request: GenerationRequest): number {
  let promptTokens = 0;
  let promptCharacters = 0;
  for (const prompt of request.prompts) {
    if (prompt instanceof Uint32Array) promptTokens += prompt.length;
    else if ('text' in prompt) promptCharacters += prompt.text.length;
    else for (const { content } of prompt.messages) promptCharacters += content.length;
  }
  const maxTokens = request.maxTokens ?? usualMaxTokens;
  return overflowCost({ promptTokens, promptCharacters, choices: choicesOf(request), maxTokens });
}

/** The last event of a request that ends without an answer, for its first choice; one is enough. */
export function endingOf(reason: 'expired' | 'error' | 'cancelled') {
  const usage = { promptTokens: 0, cachedTokens: 0, completionTokens: 0 };
  return { type: 'finished', choice: 0, reason, usage } as const;
}
