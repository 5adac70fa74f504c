import { ServiceError } from '../../errors.js';
import { invalidValue, type JsonObject, readField, requireLength } from './json-fields.js';
import { requestLimits } from './limits.js';

/** `stop`: one string or up to four; never empty ones. An empty array asks for none. */
export function parseStopStrings(body: JsonObject): string[] {
  const value = readField(body, 'stop');
  if (value === undefined) return [];
  if (typeof value === 'string') return [requireStopString('stop', value)];
  if (!Array.isArray(value)) throw invalidValue('stop', 'a string or an array of strings', value);
  requireLength('stop', value, requestLimits.stopStrings);
  return value.map((entry, index) => requireStopString(`stop[${index}]`, entry));
}

function requireStopString(path: string, value: unknown): string {
  if (typeof value !== 'string') throw invalidValue(path, 'a string', value);
  if (value.length === 0) throw invalidValue(path, 'a string of at least 1 character', value);
  const limit = requestLimits.stopStringCharacters;
  if (value.length > limit) {
    throw new ServiceError(
      'invalid_value',
      `${path} must be at most ${limit} characters long, got ${value.length}`,
      {
        param: path,
      },
    );
  }
  return value;
}
