import { invalidValue, type JsonObject, readField } from './json-fields.js';
import { requestLimits } from './limits.js';

export interface NumberParameter {
  minimum: number;
  maximum: number;
  integer: boolean;
  /** What the API document says about it. */
  description: string;
}

const int32Maximum = 2 ** 31 - 1;

/** Every numeric request field: the parser and the API document both read this table. */
export const numberParameters = {
  max_tokens: integer(
    1,
    int32Maximum,
    'Most tokens to generate per choice. Absent: until the window is full.',
  ),
  max_completion_tokens: integer(1, int32Maximum, 'The newer name of max_tokens; it wins if both are given.'),
  temperature: number(0, 2, '0 always takes the likeliest token. Default 1.'),
  top_p: number(0, 1, 'Sample from the likeliest tokens that hold this much probability. Default 1 (off).'),
  top_k: integer(
    -1,
    int32Maximum,
    'Sample from this many of the likeliest tokens. Default 0 (off), as is -1.',
  ),
  min_p: number(0, 1, 'Drop tokens less likely than this share of the likeliest one. Default 0 (off).'),
  seed: integer(
    Number.MIN_SAFE_INTEGER,
    Number.MAX_SAFE_INTEGER,
    'Same seed and same request: same output. Absent: random.',
  ),
  frequency_penalty: number(-2, 2, 'Subtracted per occurrence of a token so far. Default 0.'),
  presence_penalty: number(-2, 2, 'Subtracted once if a token occurred so far. Default 0.'),
  repetition_penalty: number(0.01, 10, 'Divides the logits of tokens seen so far. Default 1 (off).'),
  repeat_penalty: number(0.01, 10, "llama.cpp's name of repetition_penalty, which wins if both are given."),
  n: integer(1, requestLimits.choicesPerPrompt, 'Choices per prompt. Default 1.'),
  best_of: integer(1, requestLimits.choicesPerPrompt, 'Only supported when equal to n.'),
} satisfies Record<string, NumberParameter>;

/** @throws ServiceError `invalid_value` naming the field, its limits and the value */
export function readNumber(object: JsonObject, name: keyof typeof numberParameters): number | undefined {
  const value = readField(object, name);
  if (value === undefined) return undefined;
  const { minimum, maximum, integer } = numberParameters[name];
  if (typeof value !== 'number') throw invalidValue(name, integer ? 'an integer' : 'a number', value);
  if (value < minimum || value > maximum) {
    throw invalidValue(name, `between ${minimum} and ${maximum}`, value);
  }
  if (integer && !Number.isInteger(value)) throw invalidValue(name, 'an integer', value);
  // Adding zero turns -0 into 0.
  return value + 0;
}

function integer(minimum: number, maximum: number, description: string): NumberParameter {
  return { minimum, maximum, integer: true, description };
}

function number(minimum: number, maximum: number, description: string): NumberParameter {
  return { minimum, maximum, integer: false, description };
}
