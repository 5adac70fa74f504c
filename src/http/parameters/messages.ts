import type { ChatMessage } from '../../engine/text-codec.js';
import {
  invalidValue,
  isJsonObject,
  type JsonObject,
  missingField,
  readField,
  requireLength,
} from './json-fields.js';
import { requestLimits } from './limits.js';
import { unsupported } from './unsupported.js';

export const messageRoles = ['system', 'developer', 'user', 'assistant', 'tool'] as const;

/** `messages`, each flattened to text. */
export function parseMessages(body: JsonObject): ChatMessage[] {
  const value = readField(body, 'messages');
  if (value === undefined) throw missingField('messages', 'an array of at least 1 message');
  if (!Array.isArray(value) || value.length === 0) {
    throw invalidValue('messages', 'an array of at least 1 message', value);
  }
  requireLength('messages', value, requestLimits.messages);
  return value.map((entry, index) => parseMessage(`messages[${index}]`, entry));
}

function parseMessage(path: string, value: unknown): ChatMessage {
  if (!isJsonObject(value)) throw invalidValue(path, 'an object', value);
  const role = parseRole(`${path}.role`, value.role);
  refuseToolCalls(path, value);
  const content = parseContent(`${path}.content`, role, readField(value, 'content'));
  const name = readField(value, 'name');
  if (name === undefined) return { role, content };
  if (typeof name !== 'string') throw invalidValue(`${path}.name`, 'a string', name);
  return { role, content, name };
}

/** Chat templates know no `developer`: it is OpenAI's newer word for `system`. */
function parseRole(path: string, value: unknown): string {
  if (typeof value !== 'string' || !messageRoles.some((role) => role === value)) {
    throw invalidValue(path, `one of ${messageRoles.join(', ')}`, value);
  }
  return value === 'developer' ? 'system' : value;
}

function refuseToolCalls(path: string, message: JsonObject): void {
  const calls = readField(message, 'tool_calls');
  if (calls === undefined || (Array.isArray(calls) && calls.length === 0)) return;
  throw unsupported(`${path}.tool_calls`, `${path}.tool_calls is not supported by this server yet`);
}

function parseContent(path: string, role: string, value: unknown): string {
  if (typeof value === 'string') return value;
  if (value === undefined && role === 'assistant') return '';
  if (value === undefined) throw missingField(path, 'a string or an array of text parts');
  if (!Array.isArray(value)) throw invalidValue(path, 'a string or an array of text parts', value);
  requireLength(path, value, requestLimits.contentParts);
  return value.map((part, index) => parsePart(`${path}[${index}]`, part)).join('');
}

function parsePart(path: string, part: unknown): string {
  if (!isJsonObject(part)) throw invalidValue(path, 'an object', part);
  if (part.type === 'refusal' && typeof part.refusal === 'string') return part.refusal;
  if (part.type !== 'text' && part.type !== 'input_text') {
    throw invalidValue(`${path}.type`, '"text" (this server reads text only)', part.type);
  }
  if (typeof part.text !== 'string') throw invalidValue(`${path}.text`, 'a string', part.text);
  return part.text;
}
