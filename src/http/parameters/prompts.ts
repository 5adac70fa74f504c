import { invalidValue, type JsonObject, missingField, readField, requireLength } from './json-fields.js';
import { requestLimits } from './limits.js';

/** A prompt as the client sent it: text, or token ids still to be checked against the vocabulary. */
export type PromptSource = { text: string } | { tokens: readonly unknown[] };

export interface LocatedPrompt {
  /** Where it stood in the body, e.g. `prompt[2]`. */
  path: string;
  source: PromptSource;
}

const shapes = 'a string, an array of strings, an array of token ids or an array of such arrays';

/** `prompt` in any of its four shapes. */
export function parsePrompts(body: JsonObject): LocatedPrompt[] {
  const value = readField(body, 'prompt');
  if (value === undefined) throw missingField('prompt', shapes);
  if (typeof value === 'string') return [textPrompt('prompt', value)];
  if (!Array.isArray(value) || value.length === 0) throw invalidValue('prompt', shapes, value);
  if (typeof value[0] === 'number') return [{ path: 'prompt', source: { tokens: value } }];
  requireLength('prompt', value, requestLimits.prompts);
  return value.map((entry, index) => parseEntry(`prompt[${index}]`, entry, typeof value[0] === 'string'));
}

function parseEntry(path: string, entry: unknown, isText: boolean): LocatedPrompt {
  if (isText) {
    if (typeof entry !== 'string') throw invalidValue(path, 'a string, as the first entry is', entry);
    return textPrompt(path, entry);
  }
  if (!Array.isArray(entry) || entry.length === 0) {
    throw invalidValue(path, 'an array of at least 1 token id', entry);
  }
  return { path, source: { tokens: entry } };
}

function textPrompt(path: string, text: string): LocatedPrompt {
  return { path, source: { text } };
}
