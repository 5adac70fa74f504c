import { type Static, Type } from '@sinclair/typebox';
import { Value } from '@sinclair/typebox/value';
import { priorityClasses } from '../../scheduler/index.js';
import type { TextCodec } from '../engine/text-codec.js';
import type { GenerationRequest, Prompt } from '../serving/serving-core.js';
import type { OverflowJob } from './overflow-store.js';

/** Raised whenever a process of the version before would misunderstand a job. */
export const jobFormatVersion = 1;

const mostPrompts = 256;
const mostChoicesPerPrompt = 16;

const token = Type.Integer({ minimum: 0, maximum: 0xffff_ffff });
const finite = Type.Number();
const prompt = Type.Union([
  Type.Object({ tokens: Type.Array(token, { minItems: 1 }) }),
  Type.Object({
    messages: Type.Array(
      Type.Object({ role: Type.String(), content: Type.String(), name: Type.Optional(Type.String()) }),
      { minItems: 1 },
    ),
  }),
  Type.Object({ path: Type.String(), text: Type.String() }),
]);

/** A job as it lies in Redis. */
const storedJob = Type.Object({
  version: Type.Literal(jobFormatVersion),
  /** The id of the model it was accepted for. */
  model: Type.String(),
  /** The process that holds the client. */
  ownerId: Type.String({ pattern: '^[\\w-]{1,64}$' }),
  arrivedAtMs: finite,
  deadlineAtMs: Type.Union([finite, Type.Null()]),
  id: Type.String({ pattern: '^[\\w-]{1,128}$' }),
  prompts: Type.Array(prompt, { minItems: 1, maxItems: mostPrompts }),
  choicesPerPrompt: Type.Integer({ minimum: 1, maximum: mostChoicesPerPrompt }),
  maxTokens: Type.Union([Type.Integer({ minimum: 1 }), Type.Null()]),
  sampling: Type.Object({
    temperature: finite,
    topP: finite,
    topK: Type.Integer({ minimum: 0 }),
    minP: finite,
    seed: Type.Integer({ minimum: 0, maximum: 0xffff_ffff }),
    presencePenalty: finite,
    frequencyPenalty: finite,
    repetitionPenalty: finite,
    logitBias: Type.Array(Type.Tuple([token, finite])),
    ignoreEndToken: Type.Boolean(),
  }),
  stopStrings: Type.Array(Type.String({ minLength: 1 })),
  priorityClass: Type.Union(priorityClasses.map((name) => Type.Literal(name))),
  tenant: Type.String(),
  cacheSalt: Type.String(),
  resumable: Type.Boolean(),
});

export type StoredJob = Static<typeof storedJob>;

export interface ParsedJob extends OverflowJob {
  ownerId: string;
  model: string;
}

export function toStoredJob(job: OverflowJob, model: string, ownerId: string): StoredJob {
  const { request, arrivedAtMs, deadlineAtMs } = job;
  const { id, choicesPerPrompt, maxTokens, sampling, priorityClass, tenant, cacheSalt } = request;
  return {
    version: jobFormatVersion,
    model,
    ownerId,
    arrivedAtMs,
    deadlineAtMs,
    id,
    prompts: request.prompts.map(toStoredPrompt),
    choicesPerPrompt,
    maxTokens,
    sampling: { ...sampling, logitBias: [...sampling.logitBias] },
    stopStrings: [...request.stopStrings],
    priorityClass,
    tenant,
    cacheSalt,
    resumable: request.resumable === true,
  };
}

/** What is wrong with a job, in words for whoever looks at the failed ones. */
export class MalformedJobError extends Error {
  constructor(problem: string) {
    super(`cannot be understood: ${problem}`);
    this.name = 'MalformedJobError';
  }
}

/** @throws MalformedJobError */
export function parseStoredJob(data: unknown): ParsedJob {
  const version = (data as Partial<StoredJob> | null)?.version;
  if (typeof version === 'number' && version !== jobFormatVersion) {
    throw new MalformedJobError(`job format ${version}, this process reads ${jobFormatVersion}`);
  }
  if (!Value.Check(storedJob, data)) {
    const first = Value.Errors(storedJob, data).First();
    throw new MalformedJobError(`${first?.path || 'the job'}: ${first?.message}`);
  }
  const { ownerId, model, arrivedAtMs, deadlineAtMs, version: _, ...fields } = data;
  const request: GenerationRequest = {
    ...fields,
    prompts: fields.prompts.map(fromStoredPrompt),
    sampling: { ...fields.sampling, logitBias: new Map(fields.sampling.logitBias) },
    queueTimeoutMs: null,
  };
  return { request, ownerId, model, arrivedAtMs, deadlineAtMs };
}

/**
 * Token ids were accepted by a process that may not know the vocabulary; a wrong one would abort llama.cpp.
 * @throws MalformedJobError
 */
export function requireVocabulary({ prompts, sampling }: GenerationRequest, codec: TextCodec): void {
  const size = codec.vocabularySize;
  const isOutside = (id: number) => id >= size;
  const inPrompts = prompts.flatMap((entry) => (entry instanceof Uint32Array ? [entry.find(isOutside)] : []));
  const outside = [...inPrompts, [...sampling.logitBias.keys()].find(isOutside)].find(
    (id) => id !== undefined,
  );
  if (outside === undefined) return;
  throw new MalformedJobError(`token id ${outside}, but the vocabulary has ${size} tokens`);
}

function toStoredPrompt(entry: Prompt): StoredJob['prompts'][number] {
  if (entry instanceof Uint32Array) return { tokens: Array.from(entry) };
  return 'text' in entry ? entry : { messages: [...entry.messages] };
}

function fromStoredPrompt(entry: StoredJob['prompts'][number]): Prompt {
  return 'tokens' in entry ? Uint32Array.from(entry.tokens) : entry;
}
