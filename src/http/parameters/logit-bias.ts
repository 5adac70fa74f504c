import { ServiceError } from '../../errors.js';
import { invalidValue, isJsonObject, type JsonObject, readField, shorten } from './json-fields.js';
import { requestLimits } from './limits.js';

const tokenIdPattern = /^\d{1,10}$/;

/** `logit_bias`: token id (as a string key) to a bias between -100 and 100. */
export function parseLogitBias(body: JsonObject, vocabularySize: number): Map<number, number> {
  const value = readField(body, 'logit_bias');
  const biases = new Map<number, number>();
  if (value === undefined) return biases;
  if (!isJsonObject(value)) throw invalidValue('logit_bias', 'an object of token ids to biases', value);
  const entries = Object.entries(value);
  if (entries.length > requestLimits.logitBiasEntries) {
    throw new ServiceError(
      'invalid_value',
      `logit_bias must have at most ${requestLimits.logitBiasEntries} entries, got ${entries.length}`,
      { param: 'logit_bias' },
    );
  }
  for (const [key, bias] of entries) biases.set(parseKey(key, vocabularySize), parseBias(key, bias));
  return biases;
}

function parseKey(key: string, vocabularySize: number): number {
  const token = tokenIdPattern.test(key) ? Number(key) : Number.NaN;
  if (token < vocabularySize) return token;
  throw new ServiceError(
    'invalid_value',
    `logit_bias keys must be token ids between 0 and ${vocabularySize - 1}, got ${JSON.stringify(shorten(key))}`,
    { param: 'logit_bias' },
  );
}

function parseBias(key: string, bias: unknown): number {
  const path = `logit_bias[${JSON.stringify(key)}]`;
  const limit = requestLimits.logitBias;
  if (typeof bias !== 'number') throw invalidValue(path, 'a number', bias);
  if (Math.abs(bias) > limit) throw invalidValue(path, `between -${limit} and ${limit}`, bias);
  return bias;
}
