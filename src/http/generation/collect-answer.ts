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
 * @param left aborts when the client leaves
 * @returns null if the client left before it was done; nobody is there to read an answer then
 * @throws ServiceError what `core.submit` throws, or why the generation failed
 */
export function collectAnswer(
  core: ServingCore,
  request: GenerationRequest,
  timeoutMs: number | null,
  left: AbortSignal,
): Promise<CollectedAnswer | null> {
  let leave = () => {};
  const answer = new Promise<CollectedAnswer | null>((resolve, reject) => {
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
    run.accepted?.catch(reject);
    leave = () => {
      run.stop();
      resolve(null);
    };
    left.addEventListener('abort', leave);
    if (left.aborted) leave();
  });
  // A batch job has one signal for thousands of requests.
  return answer.finally(() => left.removeEventListener('abort', leave));
}
