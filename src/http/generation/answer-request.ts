import { createHash, randomBytes } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { PriorityClass } from '../../../scheduler/index.js';
import type { GenerationRequest, ModelDescription, Prompt, ServingCore } from '../../serving/serving-core.js';
import type { RouteContext } from '../route-context.js';
import type { AnswerIdentity, AnswerShape } from './answer-shape.js';
import { collectAnswer } from './collect-answer.js';
import type { ReadGeneration } from './generation-endpoints.js';
import type { Presentation } from './presentation.js';
import { refuseTooLate } from './refuse-too-late.js';
import { streamAnswer, streamLimits } from './stream-answer.js';
import type { Usage } from './usage.js';

/** The name of a stream for /v1/streams; its events carry ids where it can be read again. */
const streamIdHeader = 'x-stream-id';
/** `true`: the request runs to its end even if its client leaves, and its stream can be read again. */
const resumableHeader = 'x-resumable';

/** On whose account and how patiently a request runs. */
export interface GenerationTerms {
  tenant: string;
  priorityClass: PriorityClass;
  /** Longest wait for a slot; null: no limit. */
  queueTimeoutMs: number | null;
  /** Longest time in all; null: no limit. */
  requestTimeoutMs: number | null;
}

/** A request that only has to be submitted. */
export interface PreparedGeneration extends Pick<ReadGeneration, 'options' | 'shape'> {
  prompts: readonly Prompt[];
}

/** Submits a request when its turn has come and answers it, whole or as a stream. The same for chat and completions. */
export async function answerRequest(
  context: RouteContext,
  request: FastifyRequest,
  reply: FastifyReply,
  { options, shape, tokenize }: ReadGeneration,
): Promise<unknown> {
  refuseTooLate(context, request.tenant, options.priorityClass);
  const turn = context.arrivals.enter(request.tenant, options.priorityClass);
  try {
    const prompts = await tokenize();
    await turn.come;
    // Not awaited here: once it is submitted, the next one may come.
    return answerPrepared(context, request, reply, { options, shape, prompts });
  } finally {
    turn.leave();
  }
}

async function answerPrepared(
  { core, config }: RouteContext,
  request: FastifyRequest,
  reply: FastifyReply,
  prepared: PreparedGeneration,
): Promise<unknown> {
  const { options, shape } = prepared;
  const { queueTimeoutMs, requestTimeoutMs } = config;
  const terms = {
    tenant: request.tenant,
    priorityClass: options.priorityClass,
    queueTimeoutMs,
    requestTimeoutMs,
  };
  if (!options.stream) {
    const left = new AbortController();
    reply.raw.once('close', () => left.abort());
    if (reply.raw.destroyed) left.abort();
    const answer = await answerWhole(core, prepared, terms, left.signal);
    return answer === null ? reply.hijack() : answer.body;
  }
  const identity = newIdentity(shape, core.model);
  const { includeUsage } = options;
  const presentation: Presentation = { identity, includeUsage };
  reply.raw.setHeader(streamIdHeader, identity.id);
  await streamAnswer(reply.raw, {
    core,
    request: {
      ...generationRequest(identity.id, prepared, terms),
      presentation: JSON.stringify(presentation),
      resumable: request.headers[resumableHeader] === 'true',
    },
    requestTimeoutMs,
    limits: streamLimits,
    chunks: shape.chunks(identity, includeUsage),
    includeUsage,
  });
  return reply.hijack();
}

/**
 * Runs a request to its end.
 * @param left aborts when nobody wants the answer any more
 * @returns the body of the answer, or null if `left` aborted before it was done
 * @throws ServiceError what `core.submit` throws, or why the generation failed
 */
export async function answerWhole(
  core: ServingCore,
  prepared: PreparedGeneration,
  terms: GenerationTerms,
  left: AbortSignal,
): Promise<{ body: object; usage: Usage } | null> {
  const identity = newIdentity(prepared.shape, core.model);
  const request = generationRequest(identity.id, prepared, terms);
  const answer = await collectAnswer(core, request, terms.requestTimeoutMs, left);
  if (answer === null) return null;
  return { body: prepared.shape.answer(identity, answer.choices, answer.usage), usage: answer.usage };
}

function generationRequest(
  id: string,
  { prompts, options }: PreparedGeneration,
  { tenant, priorityClass, queueTimeoutMs }: GenerationTerms,
): GenerationRequest {
  const { choicesPerPrompt, maxTokens, sampling, stopStrings, cacheSalt } = options;
  return {
    id,
    prompts,
    choicesPerPrompt,
    maxTokens,
    sampling,
    stopStrings,
    priorityClass,
    tenant,
    cacheSalt,
    queueTimeoutMs,
  };
}

function newIdentity(shape: AnswerShape, model: ModelDescription): AnswerIdentity {
  return {
    id: shape.idPrefix + randomBytes(16).toString('hex'),
    createdSeconds: Math.floor(Date.now() / 1000),
    model: model.id,
    fingerprint: fingerprintOf(model),
  };
}

/** Changes when the weights or the window do. */
function fingerprintOf(model: ModelDescription): string {
  const facts = `${model.id}|${model.sizeBytes}|${model.contextTokens}`;
  return `fp_${createHash('sha256').update(facts).digest('hex').slice(0, 12)}`;
}
