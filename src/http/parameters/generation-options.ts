import type { PriorityClass } from '../../../scheduler/index.js';
import type { SamplingParameters } from '../../engine/sampling-parameters.js';
import {
  invalidValue,
  isJsonObject,
  type JsonObject,
  readBoolean,
  readField,
  readString,
} from './json-fields.js';
import { requestLimits } from './limits.js';
import { readNumber } from './number-parameters.js';
import { parseSampling } from './sampling.js';
import { parseStopStrings } from './stop-strings.js';
import { unsupported } from './unsupported.js';

/** What chat and completion requests have in common, validated. */
export interface GenerationOptions {
  sampling: SamplingParameters;
  stopStrings: readonly string[];
  /** null fills the window. */
  maxTokens: number | null;
  choicesPerPrompt: number;
  stream: boolean;
  /** Whether a stream ends with a usage chunk. */
  includeUsage: boolean;
  /** vLLM's `cache_salt`: only requests with the same one share cached prefixes; empty by default. */
  cacheSalt: string;
  priorityClass: PriorityClass;
}

export function parseGenerationOptions(body: JsonObject, vocabularySize: number): GenerationOptions {
  const choicesPerPrompt = readNumber(body, 'n') ?? 1;
  refuseOtherBestOf(body, choicesPerPrompt);
  readString(body, 'user', requestLimits.userCharacters);
  const maxTokens = readNumber(body, 'max_tokens');
  return {
    sampling: parseSampling(body, vocabularySize),
    stopStrings: parseStopStrings(body),
    maxTokens: readNumber(body, 'max_completion_tokens') ?? maxTokens ?? null,
    choicesPerPrompt,
    stream: readBoolean(body, 'stream', false),
    includeUsage: parseIncludeUsage(body),
    cacheSalt: readString(body, 'cache_salt', requestLimits.cacheSaltCharacters) ?? '',
    priorityClass: parsePriorityClass(body),
  };
}

/** OpenAI's `service_tier`: flex is bulk work that waits for others; every other tier is a person who waits. */
function parsePriorityClass(body: JsonObject): PriorityClass {
  const tier = readString(body, 'service_tier', requestLimits.serviceTierCharacters);
  return tier === 'flex' ? 'batch' : 'interactive';
}

function refuseOtherBestOf(body: JsonObject, choicesPerPrompt: number): void {
  const bestOf = readNumber(body, 'best_of');
  if (bestOf === undefined || bestOf === choicesPerPrompt) return;
  throw unsupported(
    'best_of',
    `best_of is only supported when equal to n (${choicesPerPrompt}), got ${bestOf}`,
  );
}

function parseIncludeUsage(body: JsonObject): boolean {
  const options = readField(body, 'stream_options');
  if (options === undefined) return false;
  if (!isJsonObject(options)) throw invalidValue('stream_options', 'an object', options);
  const value = readField(options, 'include_usage');
  if (value === undefined) return false;
  if (typeof value !== 'boolean') throw invalidValue('stream_options.include_usage', 'a boolean', value);
  return value;
}
