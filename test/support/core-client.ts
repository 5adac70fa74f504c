import { type SchedulingPolicy, throughputFirst } from '../../scheduler/index.js';
import type { ModelRuntime } from '../../src/engine/engine.js';
import { greedySampling } from '../../src/engine/sampling-parameters.js';
import { type ServingObserver, silentObserver } from '../../src/metrics/serving-observer.js';
import { LocalServingCore } from '../../src/serving/local-serving-core.js';
import type { GenerationEvent, GenerationRequest } from '../../src/serving/serving-core.js';

/** A serving core over a runtime, with limits that tests do not meet by accident. */
export function startCore(
  runtime: ModelRuntime,
  options: {
    limits?: { maxWaiting: number; maxWaitingTokens: number };
    policy?: Partial<SchedulingPolicy>;
    observer?: Partial<ServingObserver>;
    faults?: string[];
  } = {},
): LocalServingCore {
  const { slotCount, contextTokens } = runtime.engine;
  return new LocalServingCore({
    runtime,
    model: { id: runtime.name, createdSeconds: 0, source: '', sizeBytes: 0, contextTokens, slotCount },
    policy: { ...throughputFirst, threadChoices: [1, 2], ...options.policy },
    measurements: [],
    limits: options.limits ?? { maxWaiting: 1000, maxWaitingTokens: 1_000_000 },
    observer: { ...silentObserver, ...options.observer },
    nowMs: () => performance.now(),
    onFault: (message, error) => options.faults?.push(error ? `${message}: ${String(error)}` : message),
  });
}

let nextId = 0;

/** A greedy request of at most 16 tokens, unless told otherwise. */
export function requestFor(
  core: LocalServingCore,
  text: string,
  overrides: Partial<GenerationRequest> = {},
): GenerationRequest {
  nextId += 1;
  return {
    id: `request-${nextId}`,
    prompts: [core.codec.encode(text, true)],
    choicesPerPrompt: 1,
    maxTokens: 16,
    sampling: greedySampling,
    stopStrings: [],
    priorityClass: 'interactive',
    tenant: 'anonymous',
    cacheSalt: '',
    queueTimeoutMs: null,
    ...overrides,
  };
}

export interface Answer {
  /** Per choice. */
  text: string[];
  tokens: number[][];
  finished: Extract<GenerationEvent, { type: 'finished' }>[];
}

/** Runs a request to the end of its last choice. */
export function run(core: LocalServingCore, request: GenerationRequest): Promise<Answer> {
  const choices = request.prompts.length * request.choicesPerPrompt;
  const answer: Answer = {
    text: Array.from({ length: choices }, () => ''),
    tokens: Array.from({ length: choices }, () => []),
    finished: [],
  };
  return new Promise((resolve) => {
    core.submit(request, (event) => {
      if (event.type === 'text') {
        answer.text[event.choice] += event.text;
        answer.tokens[event.choice]!.push(...event.tokens);
      } else if (answer.finished.push(event) === choices) resolve(answer);
    });
  });
}
