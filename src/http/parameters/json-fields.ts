import { ServiceError } from '../../errors.js';

/** An object as `JSON.parse` gives it: keys such as `__proto__` are ordinary properties. */
export type JsonObject = Readonly<Record<string, unknown>>;

const describedCharacters = 80;

/** A value for an error message: short, never recursive, safe for any JSON value. */
export function describeValue(value: unknown): string {
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return value.length === 0 ? 'an empty array' : `an array of ${value.length}`;
  if (typeof value === 'object' && value !== null) return 'an object';
  if (typeof value === 'string') return JSON.stringify(shorten(value));
  return String(value);
}

/** Cut to what fits an error message. */
export function shorten(text: string): string {
  return text.length <= describedCharacters ? text : `${text.slice(0, describedCharacters)}...`;
}

/** `<path> must be <expectation>, got <value>`. */
export function invalidValue(path: string, expectation: string, value: unknown): ServiceError {
  return new ServiceError('invalid_value', `${path} must be ${expectation}, got ${describeValue(value)}`, {
    param: path,
  });
}

export function missingField(path: string, expectation: string): ServiceError {
  return new ServiceError('invalid_value', `${path} is required: ${expectation}`, { param: path });
}

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The whole request body. */
export function readBody(body: unknown): JsonObject {
  if (isJsonObject(body)) return body;
  throw new ServiceError(
    'invalid_value',
    `the request body must be a JSON object, got ${describeValue(body)}`,
  );
}

/** A field's value; an explicit null is the same as an absent field everywhere in this API. */
export function readField(object: JsonObject, name: string): unknown {
  return object[name] ?? undefined;
}

export function readBoolean(object: JsonObject, name: string, whenAbsent: boolean): boolean {
  const value = readField(object, name);
  if (value === undefined) return whenAbsent;
  if (typeof value !== 'boolean') throw invalidValue(name, 'a boolean', value);
  return value;
}

export function readString(object: JsonObject, name: string, maxCharacters: number): string | undefined {
  const value = readField(object, name);
  if (value === undefined) return undefined;
  if (typeof value !== 'string') throw invalidValue(name, 'a string', value);
  if (value.length > maxCharacters) {
    throw new ServiceError(
      'invalid_value',
      `${name} must be at most ${maxCharacters} characters long, got ${value.length}`,
      { param: name },
    );
  }
  return value;
}

/** @throws ServiceError unless `value` is an array of at most `maxLength` entries */
export function requireLength(path: string, value: readonly unknown[], maxLength: number): void {
  if (value.length <= maxLength) return;
  throw new ServiceError(
    'invalid_value',
    `${path} must have at most ${maxLength} entries, got ${value.length}`,
    { param: path },
  );
}
