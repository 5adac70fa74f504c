import { createHash, randomBytes } from 'node:crypto';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { GenerationRequest, ModelDescription } from '../../serving/serving-core.js';
import type { GenerationOptions } from '../parameters/generation-options.js';
import type { RouteContext } from '../route-context.js';
import type { AnswerIdentity, AnswerShape } from './answer-shape.js';
import { collectAnswer } from './collect-answer.js';
import { type StreamLimits, streamAnswer } from './stream-answer.js';

const streamLimits: StreamLimits = {
  pingMs: 15_000,
  drainTimeoutMs: 60_000,
  maxHeldCharacters: 256 * 1024,
};

/** Submits a validated request and answers it, whole or as a stream. The same for chat and completions. */
export async function answerRequest(
  context: RouteContext,
  request: FastifyRequest,
  reply: FastifyReply,
  prompts: readonly Uint32Array[],
  options: GenerationOptions,
  shape: AnswerShape,
): Promise<unknown> {
  const { core, config } = context;
  const identity = newIdentity(shape, core.model);
  const generation: GenerationRequest = {
    id: identity.id,
    prompts,
    choicesPerPrompt: options.choicesPerPrompt,
    maxTokens: options.maxTokens,
    sampling: options.sampling,
    stopStrings: options.stopStrings,
    priorityClass: options.priorityClass,
    tenant: request.tenant,
    cacheSalt: options.cacheSalt,
    queueTimeoutMs: config.queueTimeoutMs,
  };
  if (!options.stream) {
    const answer = await collectAnswer(reply.raw, core, generation, config.requestTimeoutMs);
    if (answer === null) return reply.hijack();
    return shape.answer(identity, answer.choices, answer.usage);
  }
  streamAnswer(reply.raw, {
    core,
    request: generation,
    requestTimeoutMs: config.requestTimeoutMs,
    limits: streamLimits,
    chunks: shape.chunks(identity, options.includeUsage),
    includeUsage: options.includeUsage,
  });
  return reply.hijack();
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
