import { ServiceError } from '../../errors.js';
import { describeValue, isJsonObject, type JsonObject, readField } from './json-fields.js';

type IsHarmless = (value: unknown) => boolean;

const isEmptyArray: IsHarmless = (value) => Array.isArray(value) && value.length === 0;
const isFalse: IsHarmless = (value) => value === false;
const isFalseOrZero: IsHarmless = (value) => value === false || value === 0;
const isNoneOrAuto: IsHarmless = (value) => value === 'none' || value === 'auto';
const isTextFormat: IsHarmless = (value) => isJsonObject(value) && value.type === 'text';
const isTextOnly: IsHarmless = (value) => Array.isArray(value) && value.every((entry) => entry === 'text');
const isEmptyString: IsHarmless = (value) => value === '';
const never: IsHarmless = () => false;

/** Fields that would change the answer and that this server cannot honour yet, with the values that ask for nothing. */
const outputConstraints: Record<string, IsHarmless> = {
  response_format: isTextFormat,
  grammar: isEmptyString,
  json_schema: never,
  structured_outputs: never,
  guided_json: never,
  guided_regex: never,
  guided_choice: never,
  guided_grammar: never,
};

const unsupportedInChat: Record<string, IsHarmless> = {
  ...outputConstraints,
  tools: isEmptyArray,
  tool_choice: isNoneOrAuto,
  functions: isEmptyArray,
  function_call: isNoneOrAuto,
  logprobs: isFalse,
  top_logprobs: isFalseOrZero,
  audio: never,
  modalities: isTextOnly,
};

const unsupportedInCompletions: Record<string, IsHarmless> = {
  ...outputConstraints,
  // Here 0 would still ask for the chosen token's log probability.
  logprobs: isFalse,
  echo: isFalse,
  suffix: isEmptyString,
};

/** @throws ServiceError `unsupported_parameter` for what would silently change the answer if it were ignored */
export function refuseUnsupportedInChat(body: JsonObject): void {
  refuse(body, unsupportedInChat);
}

export function refuseUnsupportedInCompletions(body: JsonObject): void {
  refuse(body, unsupportedInCompletions);
}

function refuse(body: JsonObject, table: Record<string, IsHarmless>): void {
  for (const [name, isHarmless] of Object.entries(table)) {
    const value = readField(body, name);
    if (value === undefined || isHarmless(value)) continue;
    throw unsupported(name, `${name} is not supported by this server yet, got ${describeValue(value)}`);
  }
}

export function unsupported(param: string, message: string): ServiceError {
  return new ServiceError('unsupported_parameter', message, { param });
}
