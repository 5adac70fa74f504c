import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** The model that ships inside the package: it proves that everything works and knows a very small world. */
export const tinyModelPath = fileURLToPath(new URL('./tiny/chairlift-tiny-Q8_0.gguf', import.meta.url));

export function isTinyModelPresent(path: string): boolean {
  return existsSync(path);
}

/** What the user must not miss, a line each. */
export const tinyModelNotice: readonly string[] = [
  '!'.repeat(78),
  '!!  NO REAL MODEL: serving chairlift-tiny, a toy of 1.5 million parameters.',
  '!!  It knows little stories, colours and small sums, and nothing else. Ask it:',
  '!!    Tell me a story about a fox in the rain.',
  '!!  To get a real model, do one of these and start again:',
  '!!    with internet access:   npx chairlift pull',
  '!!    with a file of yours:   npx chairlift serve --model /path/to/model.gguf',
  '!!    from Hugging Face:      npx chairlift serve --model hf:user/repo:Q4_K_M',
  '!'.repeat(78),
];
