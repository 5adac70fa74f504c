import type { Random } from './random.js';
import { commonWords } from './words.js';

/** What is known of the target's tokenizer, found through its own usage counts. */
export interface Calibration {
  /** Words that are exactly one token when they follow a space. */
  words: readonly string[];
  /** Tokens of a prompt beyond its words: BOS, chat template. */
  overheadTokens: number;
  /** False when the target reports no usage, so lengths are a guess. */
  isExact: boolean;
}

export const guessedCalibration: Calibration = { words: commonWords, overheadTokens: 0, isExact: false };

/** Every prompt starts with it, because the first word has no space before it and may tokenise differently. */
export const openingWord = 'The';

/** Counts the prompt tokens of a text, overhead included. */
export type CountTokens = (text: string) => Promise<number>;

/**
 * Finds the overhead, then keeps only words that are one token each, by halving every group whose count is off.
 * About a dozen requests when the vocabulary is ordinary; never more than `limitRequests`.
 */
export async function calibrate(
  count: CountTokens,
  words: readonly string[] = commonWords,
  limitRequests = 120,
): Promise<Calibration> {
  const overheadTokens = (await count(openingWord)) - 1;
  let requests = 1;
  const keepSingles = async (group: readonly string[]): Promise<string[]> => {
    if (requests >= limitRequests) return [];
    requests += 1;
    const counted = await count([openingWord, ...group].join(' '));
    if (counted === overheadTokens + 1 + group.length) return [...group];
    if (group.length === 1) return [];
    const half = group.length >> 1;
    return [...(await keepSingles(group.slice(0, half))), ...(await keepSingles(group.slice(half)))];
  };
  const singles = await keepSingles(words);
  if (singles.length < 16) return { words, overheadTokens: Math.max(0, overheadTokens), isExact: false };
  return { words: singles, overheadTokens, isExact: true };
}

/** `count` words, each one token. */
export function drawWords(count: number, words: readonly string[], random: Random): string {
  return Array.from({ length: Math.max(0, count) }, () => random.pick(words)).join(' ');
}

export interface PromptParts {
  /** Goes first, the same text for everyone who shares it. Counted in `tokens`. */
  prefix?: string;
  prefixTokens?: number;
}

/** A prompt of exactly `tokens` tokens by the calibration. Different random streams give different prompts. */
export function buildPrompt(
  tokens: number,
  calibration: Calibration,
  random: Random,
  parts: PromptParts = {},
): string {
  const { prefix, prefixTokens = 0 } = parts;
  if (prefix !== undefined) {
    return [prefix, drawWords(tokens - prefixTokens, calibration.words, random)].filter(Boolean).join(' ');
  }
  const ownWords = tokens - calibration.overheadTokens - 1;
  return [openingWord, drawWords(ownWords, calibration.words, random)].filter(Boolean).join(' ');
}
