import { ServiceError } from '../errors.js';
import {
  invalidValue,
  isJsonObject,
  type JsonObject,
  missingField,
  readField,
  readString,
} from '../http/parameters/json-fields.js';
import { endpointNames, isGenerationEndpoint } from './batch-line.js';
import type { NewBatch } from './batch-record.js';

const metadataLimits = { entries: 16, keyCharacters: 64, valueCharacters: 512 };
const expiryLimits = { shortestSeconds: 3_600, longestSeconds: 2_592_000 };
const longestWindowSeconds = 30 * 86_400;
const unitSeconds: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3_600, d: 86_400 };

/** The body of POST /v1/batches. @throws ServiceError */
export function parseNewBatch(body: JsonObject): NewBatch {
  const endpoint = readField(body, 'endpoint');
  if (endpoint === undefined) throw missingField('endpoint', `one of ${endpointNames}`);
  if (!isGenerationEndpoint(endpoint)) throw invalidValue('endpoint', `one of ${endpointNames}`, endpoint);
  const inputFileId = readString(body, 'input_file_id', 64);
  if (inputFileId === undefined) throw missingField('input_file_id', 'the id of an uploaded file');
  const completionWindow = readString(body, 'completion_window', 16);
  if (completionWindow === undefined) throw missingField('completion_window', 'such as "24h"');
  const expiry = readField(body, 'output_expires_after');
  return {
    endpoint,
    inputFileId,
    completionWindow,
    windowSeconds: parseWindow(completionWindow),
    metadata: parseMetadata(readField(body, 'metadata')),
    outputExpiresAfterSeconds: expiry === undefined ? null : parseExpiry('output_expires_after', expiry),
  };
}

/** OpenAI knows only `24h`; here it is any number of seconds, minutes, hours or days. */
function parseWindow(text: string): number {
  const [, count, unit] = /^(\d{1,9})([smhd])$/.exec(text) ?? [];
  const seconds = Number(count) * (unitSeconds[unit ?? ''] ?? 0);
  if (seconds >= 1 && seconds <= longestWindowSeconds) return seconds;
  throw invalidValue('completion_window', 'from 1s to 30d, such as "24h"', text);
}

/** `{anchor: 'created_at', seconds}`. @returns the seconds */
export function parseExpiry(path: string, value: unknown): number {
  if (!isJsonObject(value)) throw invalidValue(path, 'an object', value);
  if (value.anchor !== 'created_at') throw invalidValue(`${path}.anchor`, '"created_at"', value.anchor);
  const { shortestSeconds, longestSeconds } = expiryLimits;
  const seconds = typeof value.seconds === 'string' ? Number(value.seconds) : value.seconds;
  if (Number.isInteger(seconds) && Number(seconds) >= shortestSeconds && Number(seconds) <= longestSeconds)
    return Number(seconds);
  const expectation = `a whole number from ${shortestSeconds} to ${longestSeconds}`;
  throw invalidValue(`${path}.seconds`, expectation, value.seconds);
}

function parseMetadata(value: unknown): NewBatch['metadata'] {
  if (value === undefined) return null;
  if (!isJsonObject(value)) throw invalidValue('metadata', 'an object of strings', value);
  const { entries, keyCharacters, valueCharacters } = metadataLimits;
  const pairs = Object.entries(value);
  if (pairs.length > entries)
    throw tooMuch(`metadata must have at most ${entries} keys, got ${pairs.length}`);
  for (const [key, text] of pairs) {
    if (key.length > keyCharacters)
      throw tooMuch(`keys of metadata must have at most ${keyCharacters} characters, got ${key.length}`);
    if (typeof text !== 'string') throw invalidValue(`metadata.${key}`, 'a string', text);
    if (text.length > valueCharacters)
      throw tooMuch(`values of metadata must have at most ${valueCharacters} characters, got ${text.length}`);
  }
  return Object.fromEntries(pairs) as Record<string, string>;
}

function tooMuch(message: string): ServiceError {
  return new ServiceError('invalid_value', message, { param: 'metadata' });
}
