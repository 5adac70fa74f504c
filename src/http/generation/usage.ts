import type { ChoiceUsage } from '../../serving/serving-core.js';

/** OpenAI's `usage`. */
export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  prompt_tokens_details: { cached_tokens: number };
}

/**
 * A prompt counts once, however many choices it has; every choice's completion counts.
 * @param choices in order of their number, `prompt * choicesPerPrompt + choice`
 */
export function sumUsage(choices: readonly ChoiceUsage[], choicesPerPrompt: number): Usage {
  let promptTokens = 0;
  let cachedTokens = 0;
  let completionTokens = 0;
  choices.forEach((choice, index) => {
    completionTokens += choice.completionTokens;
    if (index % choicesPerPrompt !== 0) return;
    promptTokens += choice.promptTokens;
    cachedTokens += choice.cachedTokens;
  });
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
    prompt_tokens_details: { cached_tokens: cachedTokens },
  };
}
