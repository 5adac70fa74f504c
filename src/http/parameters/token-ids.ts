import { ServiceError } from '../../errors.js';
import { invalidValue } from './json-fields.js';

/**
 * Token ids a client sent. An id outside the vocabulary would abort the process in native code, so every one
 * is checked.
 * @throws ServiceError `invalid_value` naming the entry and the vocabulary size
 */
export function parseTokenIds(path: string, values: readonly unknown[], vocabularySize: number): Uint32Array {
  const tokens = new Uint32Array(values.length);
  for (let index = 0; index < values.length; index++) {
    tokens[index] = parseTokenId(`${path}[${index}]`, values[index], vocabularySize);
  }
  return tokens;
}

function parseTokenId(path: string, value: unknown, vocabularySize: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value)) {
    throw invalidValue(path, 'a token id (an integer)', value);
  }
  if (value < 0 || value >= vocabularySize) {
    throw new ServiceError(
      'invalid_value',
      `${path} must be a token id between 0 and ${vocabularySize - 1} (the vocabulary has ${vocabularySize} tokens), got ${value}`,
      { param: path },
    );
  }
  return value;
}
