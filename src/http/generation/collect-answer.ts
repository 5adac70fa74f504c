import type { ServerResponse } from 'node:http';
import type { GenerationRequest, ServingCore } from '../../serving/serving-core.js';
import type { FinishedChoice } from './answer-shape.js';
import { GenerationRun } from './generation-run.js';
import type { Usage } from './usage.js';

export interface CollectedAnswer {
  choices: FinishedChoice[];
  usage: Usage;
}

/**
 * Waits for the whole answer.
 * @returns null if the client left before it was done; nobody is there to read an answer then
 * @throws ServiceError what `core.submit` throws, or why the generation failed
 */
export function collectAnswer(
  response: ServerResponse,
  core: ServingCore,
  request: GenerationRequest,
  timeoutMs: number,
): Promise<CollectedAnswer | null> {
  return new Promise((resolve, reject) => {
    const choices: FinishedChoice[] = Array.from(
      { length: request.prompts.length * request.choicesPerPrompt },
      () => ({ text: '', reason: 'stop' }),
    );
    const run = new GenerationRun(core, request, timeoutMs, {
      text(choice, text) {
        choices[choice]!.text += text;
      },
      choiceFinished(choice, reason) {
        choices[choice]!.reason = reason;
      },
      completed: (usage) => resolve({ choices, usage }),
      failed: reject,
    });
    const leave = () => {
      run.stop();
      resolve(null);
    };
    response.once('close', leave);
    if (response.destroyed) leave();
  });
}
