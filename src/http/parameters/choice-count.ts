import { ServiceError } from '../../errors.js';
import type { GenerationContext } from '../route-context.js';

/**
 * More choices than slots and line together could never be admitted: a lasting error, not a 429.
 * @throws ServiceError `invalid_value`
 */
export function requireRoomForChoices(
  { core, config }: GenerationContext,
  prompts: number,
  choicesPerPrompt: number,
): void {
  const limit = core.model.slotCount + config.maxWaiting;
  const choices = prompts * choicesPerPrompt;
  if (choices <= limit) return;
  throw new ServiceError(
    'invalid_value',
    `prompt and n ask for ${choices} choices, but this server takes at most ${limit} at a time`,
    { param: prompts > 1 ? 'prompt' : 'n' },
  );
}
