import { greedySampling } from '../../src/engine/sampling-parameters.js';
import type { GenerationRequest } from '../../src/serving/serving-core.js';

/** The plainest request; tests change what they care about. */
export const anyRequest: GenerationRequest = {
  id: 'cmpl-1',
  prompts: [Uint32Array.of(1, 2, 3)],
  choicesPerPrompt: 1,
  maxTokens: 8,
  sampling: greedySampling,
  stopStrings: [],
  priorityClass: 'interactive',
  tenant: 'anonymous',
  cacheSalt: '',
  queueTimeoutMs: null,
};
