import { type GenerationEndpoint, generationEndpoints } from '../http/generation/generation-endpoints.js';
import { describeValue, isJsonObject, type JsonObject } from '../http/parameters/json-fields.js';

/** One request of a batch job: a line of its input file. */
export interface BatchLine {
  customId: string;
  endpoint: GenerationEndpoint;
  body: JsonObject;
}

/** OpenAI's `BatchError`. */
export interface BatchError {
  code: string;
  line: number | null;
  message: string;
  param: string | null;
}

export interface LineRules {
  /** The only endpoint allowed; null: any that generates. */
  endpoint: GenerationEndpoint | null;
  /** Fill in what the command line can tell by itself: `custom_id`, `method`, `url`. */
  lenient: boolean;
}

export class LineProblem extends Error {
  readonly code: string;
  readonly param: string | null;

  constructor(code: string, param: string | null, message: string) {
    super(message);
    this.name = 'LineProblem';
    this.code = code;
    this.param = param;
  }
}

const customIdCharacters = 512;
const byteOrderMark = '\uFEFF';

export function isGenerationEndpoint(value: unknown): value is GenerationEndpoint {
  return typeof value === 'string' && Object.hasOwn(generationEndpoints, value);
}

export const endpointNames = Object.keys(generationEndpoints).join(', ');

/** @throws LineProblem */
export function parseBatchLine(bytes: Buffer, number: number, rules: LineRules): BatchLine {
  const entry = parseObject(bytes);
  const { body } = rules.lenient ? { body: entry.body ?? withoutEnvelope(entry) } : entry;
  if (!isJsonObject(body)) throw invalid('body', 'must be an object', body);
  return {
    customId: customIdOf(entry, number, rules),
    endpoint: endpointOf(entry, body, rules),
    body,
  };
}

function parseObject(bytes: Buffer): JsonObject {
  const text = bytes.toString('utf8');
  let value: unknown;
  try {
    value = JSON.parse(text.startsWith(byteOrderMark) ? text.slice(1) : text);
  } catch {
    throw new LineProblem('invalid_json_line', null, 'This line is not parseable as valid JSON.');
  }
  if (isJsonObject(value)) return value;
  throw new LineProblem(
    'invalid_json_line',
    null,
    `This line must be a JSON object, got ${describeValue(value)}.`,
  );
}

/** A line that is a body itself. */
function withoutEnvelope({ custom_id: _, method: __, url: ___, ...body }: JsonObject): JsonObject {
  return body;
}

function customIdOf(entry: JsonObject, number: number, { lenient }: LineRules): string {
  const id = entry.custom_id ?? (lenient ? `line-${number}` : undefined);
  if (id === undefined)
    throw new LineProblem('missing_required_parameter', 'custom_id', 'custom_id is required.');
  if (typeof id === 'string' && id.length > 0 && id.length <= customIdCharacters) return id;
  throw invalid('custom_id', `must be a string of 1 to ${customIdCharacters} characters`, id);
}

function endpointOf(entry: JsonObject, body: JsonObject, rules: LineRules): GenerationEndpoint {
  const method = entry.method ?? (rules.lenient ? 'POST' : undefined);
  if (method !== 'POST') throw new LineProblem('invalid_method', 'method', requiredMethod(method));
  const url = entry.url ?? (rules.lenient ? guessEndpoint(body) : undefined);
  if (!isGenerationEndpoint(url)) {
    throw new LineProblem(
      'invalid_url',
      'url',
      `url must be one of ${endpointNames}, got ${describeValue(url)}.`,
    );
  }
  if (rules.endpoint === null || rules.endpoint === url) return url;
  const message = `url must be the endpoint of the batch, ${rules.endpoint}, got ${url}.`;
  throw new LineProblem('mismatched_url', 'url', message);
}

function requiredMethod(method: unknown): string {
  return `method must be "POST", got ${describeValue(method)}.`;
}

function guessEndpoint(body: JsonObject): GenerationEndpoint {
  return body.messages === undefined && body.prompt !== undefined
    ? '/v1/completions'
    : '/v1/chat/completions';
}

function invalid(param: string, expectation: string, value: unknown): LineProblem {
  return new LineProblem('invalid_value', param, `${param} ${expectation}, got ${describeValue(value)}.`);
}
