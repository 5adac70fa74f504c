import type { SchedulerConfig } from './ports.js';
import type { SequenceSpec } from './sequence-spec.js';

/** Why sequences were not taken; nothing of the request was kept. */
export type Rejection =
  /** Prompt plus completion exceed the slot's window. */
  | { reason: 'window'; promptTokens: number; maxTokens: number; limit: number }
  /** More at once than an empty line and all slots can take. */
  | { reason: 'never'; choices: number; promptTokens: number }
  | { reason: 'waiting'; waiting: number; limit: number }
  | { reason: 'waiting-tokens'; waitingTokens: number; limit: number };

export interface LineState {
  waiting: number;
  waitingTokens: number;
  freeSlots: number;
}

/**
 * Takes all sequences or none. A slot's window is fixed, so whoever fits it can never run out of memory halfway.
 * Sequences that will start in the next tick do not count against the line.
 */
export function admit(
  specs: readonly SequenceSpec[],
  line: LineState,
  config: SchedulerConfig,
): Rejection | null {
  let promptTokens = 0;
  for (const { prompt, maxTokens } of specs) {
    if (prompt.length + maxTokens > config.contextTokens) {
      return { reason: 'window', promptTokens: prompt.length, maxTokens, limit: config.contextTokens };
    }
    promptTokens += prompt.length;
  }
  const rejection = admitToLine(specs.length, promptTokens, line, config);
  const emptyLine = { waiting: 0, waitingTokens: 0, freeSlots: config.slotCount };
  if (!rejection || !admitToLine(specs.length, promptTokens, emptyLine, config)) return rejection;
  return { reason: 'never', choices: specs.length, promptTokens };
}

function admitToLine(
  choices: number,
  promptTokens: number,
  line: LineState,
  config: SchedulerConfig,
): Rejection | null {
  const waiting = line.waiting + choices;
  if (waiting > config.maxWaiting + line.freeSlots) {
    return { reason: 'waiting', waiting: line.waiting, limit: config.maxWaiting };
  }
  const waitingTokens = line.waitingTokens + promptTokens;
  if (waiting > line.freeSlots && waitingTokens > config.maxWaitingTokens) {
    return { reason: 'waiting-tokens', waitingTokens: line.waitingTokens, limit: config.maxWaitingTokens };
  }
  return null;
}
