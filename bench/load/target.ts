import { createEndpoint, type Endpoint, errorMessageOf, fetchPlain, TargetError } from './endpoint.js';
import { type Calibration, calibrate, guessedCalibration } from './prompts.js';
import { generatedTokens, type RequestRecord, type RequestSpec } from './records.js';
import { type ApiKind, type RequestShape, requestBody, sendStreaming } from './stream-client.js';

export interface Target {
  endpoint: Endpoint;
  shape: RequestShape;
  calibration: Calibration;
  features: TargetFeatures;
}

export interface TargetFeatures {
  api: ApiKind;
  model: string;
  server: string;
  reportsUsage: boolean;
  reportsCachedTokens: boolean;
  acceptsIgnoreEos: boolean;
  calibratedPrompts: boolean;
}

export interface TargetOptions {
  url: string;
  model?: string | undefined;
  apiKey?: string | undefined;
  api?: ApiKind | undefined;
  temperature?: number;
}

const probeTimeoutMs = 120_000;

/**
 * Finds out what the target can do, through public OpenAI endpoints only.
 * @throws TargetError with one clear sentence when it cannot be measured
 */
export async function openTarget(options: TargetOptions): Promise<Target> {
  const endpoint = createEndpoint(options.url, options.apiKey);
  const { model, server } = await findModel(endpoint, options.model);
  const base: RequestShape = {
    api: options.api ?? 'completions',
    model,
    includeUsage: true,
    ignoreEos: true,
    temperature: options.temperature ?? 0,
  };
  const { shape, record } = await probeShape(endpoint, base, options.api !== undefined);
  const reportsUsage = record.promptTokens !== undefined;
  const calibration = reportsUsage ? await calibrateBy(endpoint, shape) : guessedCalibration;
  return {
    endpoint,
    shape,
    calibration,
    features: {
      api: shape.api,
      model,
      server,
      reportsUsage,
      reportsCachedTokens: record.cachedTokens !== undefined,
      acceptsIgnoreEos: shape.ignoreEos,
      calibratedPrompts: calibration.isExact,
    },
  };
}

async function findModel(endpoint: Endpoint, wanted?: string): Promise<{ model: string; server: string }> {
  const reply = await fetchPlain(endpoint, 'GET', '/v1/models', undefined, 15_000);
  refuseUnauthorized(endpoint, reply.status, reply.text);
  const known = reply.status === 200 ? modelIds(reply.text) : [];
  if (reply.status === 503) {
    throw new TargetError(`${endpoint.baseUrl} is not ready (503): ${errorMessageOf(reply.text)}`);
  }
  const model = wanted ?? known[0];
  if (model === undefined) {
    throw new TargetError(
      `${endpoint.baseUrl}/v1/models answered ${reply.status} and names no model: this is no OpenAI-compatible server, ` +
        'or the URL is wrong (give the part before /v1; --model names a model by hand).',
    );
  }
  return { model, server: reply.server };
}

function modelIds(text: string): string[] {
  try {
    const parsed = JSON.parse(text) as { data?: { id?: unknown }[] };
    return (parsed.data ?? []).map((entry) => entry.id).filter((id): id is string => typeof id === 'string');
  } catch {
    return [];
  }
}

function refuseUnauthorized(endpoint: Endpoint, status: number, text: string): void {
  if (status !== 401 && status !== 403) return;
  throw new TargetError(
    `${endpoint.baseUrl} refuses the key (${status}): ${errorMessageOf(text) || 'unauthorized'}. Give one with --api-key.`,
  );
}

const probeSpec: RequestSpec = { prompt: 'The old man walked along the', promptTokens: 7, outputTokens: 8 };

/** Asks for everything, then for less, until a stream comes back. */
async function probeShape(
  endpoint: Endpoint,
  base: RequestShape,
  isApiFixed: boolean,
): Promise<{ shape: RequestShape; record: RequestRecord }> {
  const candidates: RequestShape[] = [];
  for (const api of isApiFixed || base.api === 'chat' ? [base.api] : (['completions', 'chat'] as const)) {
    candidates.push(
      { ...base, api },
      { ...base, api, ignoreEos: false },
      { ...base, api, ignoreEos: false, includeUsage: false },
    );
  }
  let lastError = '';
  for (const shape of candidates) {
    const record = await sendStreaming(probeSpec, { endpoint, shape, timeoutMs: probeTimeoutMs });
    if (record.outcome === 'ok')
      return { shape: { ...shape, ignoreEos: keepsLength(shape, record) }, record };
    refuseUnauthorized(endpoint, record.statusCode ?? 0, record.error ?? '');
    if (record.failureKind === 'connection')
      throw new TargetError(`Cannot reach ${endpoint.baseUrl}: ${record.error}.`);
    if (record.error?.startsWith('not a stream')) throw await notStreaming(endpoint, shape, record);
    lastError = record.error ?? '';
  }
  throw new TargetError(
    `${endpoint.baseUrl} cannot be measured, a short streaming request failed: ${lastError}`,
  );
}

/** Some servers take ignore_eos and end at the end all the same. */
function keepsLength(shape: RequestShape, record: RequestRecord): boolean {
  return (
    shape.ignoreEos && !(record.finishReason === 'stop' && generatedTokens(record) < probeSpec.outputTokens)
  );
}

async function notStreaming(
  endpoint: Endpoint,
  shape: RequestShape,
  record: RequestRecord,
): Promise<TargetError> {
  const path = shape.api === 'chat' ? '/v1/chat/completions' : '/v1/completions';
  const reply = await fetchPlain(endpoint, 'POST', path, requestBody(probeSpec, shape), probeTimeoutMs);
  return new TargetError(
    `${endpoint.baseUrl} does not stream: asked with "stream": true it answered ${record.error?.replace('not a stream: ', '')}` +
      `${reply.text ? ` ("${errorMessageOf(reply.text).slice(0, 60)}")` : ''}. Without a stream there is no time to first token to measure.`,
  );
}

async function calibrateBy(endpoint: Endpoint, shape: RequestShape): Promise<Calibration> {
  return calibrate(async (text) => {
    const spec: RequestSpec = { prompt: text, promptTokens: 0, outputTokens: 1 };
    const record = await sendStreaming(spec, { endpoint, shape, timeoutMs: probeTimeoutMs });
    if (record.promptTokens !== undefined) return record.promptTokens;
    throw new TargetError(
      `${endpoint.baseUrl} failed while prompts were calibrated: ${record.error ?? 'no usage'}`,
    );
  });
}
