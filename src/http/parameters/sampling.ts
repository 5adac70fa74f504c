import { randomInt } from 'node:crypto';
import type { SamplingParameters } from '../../engine/sampling-parameters.js';
import { type JsonObject, readBoolean } from './json-fields.js';
import { parseLogitBias } from './logit-bias.js';
import { readNumber } from './number-parameters.js';

/** Well below 2^32 - 1, which llama.cpp takes for "pick a random seed"; each choice adds its number. */
const seedCount = 2 ** 31;

/** A nucleus of no mass at all would be empty; this one keeps exactly the likeliest token. */
const smallestTopP = 1e-6;

/** The fields that say how tokens are drawn; the same for chat and completions. */
export function parseSampling(body: JsonObject, vocabularySize: number): SamplingParameters {
  return {
    temperature: readNumber(body, 'temperature') ?? 1,
    topP: Math.max(readNumber(body, 'top_p') ?? 1, smallestTopP),
    topK: Math.min(Math.max(readNumber(body, 'top_k') ?? 0, 0), vocabularySize),
    minP: readNumber(body, 'min_p') ?? 0,
    seed: foldSeed(readNumber(body, 'seed') ?? randomInt(seedCount)),
    presencePenalty: readNumber(body, 'presence_penalty') ?? 0,
    frequencyPenalty: readNumber(body, 'frequency_penalty') ?? 0,
    repetitionPenalty: readRepetitionPenalty(body),
    logitBias: parseLogitBias(body, vocabularySize),
    ignoreEndToken: readBoolean(body, 'ignore_eos', false),
  };
}

function readRepetitionPenalty(body: JsonObject): number {
  const alias = readNumber(body, 'repeat_penalty');
  return readNumber(body, 'repetition_penalty') ?? alias ?? 1;
}

function foldSeed(seed: number): number {
  return ((seed % seedCount) + seedCount) % seedCount;
}
