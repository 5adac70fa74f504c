import type { SchedulerConfig } from './ports.js';
import type { PriorityClass, SequenceSpec } from './sequence-spec.js';

/** Why sequences were not taken; nothing of the request was kept. */
export type Rejection =
  /** Prompt plus completion exceed the slot's window. */
  | { reason: 'window'; promptTokens: number; maxTokens: number; limit: number }
  /** More at once than an empty line and all slots can take. */
  | { reason: 'never'; choices: number; promptTokens: number }
  | { reason: 'waiting'; waiting: number; limit: number }
  | { reason: 'waiting-tokens'; waitingTokens: number; limit: number };

/** How full a class may make the line: what lies above is kept for higher classes. */
export const lineShare: Readonly<Record<PriorityClass, number>> = {
  interactive: 1,
  standard: 0.9,
  batch: 0.5,
};

/** The limits of the line for one class; a single prompt fits in any case. */
export function lineLimits(
  { maxWaiting, maxWaitingTokens, contextTokens }: SchedulerConfig,
  priorityClass: PriorityClass,
): { maxWaiting: number; maxWaitingTokens: number } {
  const share = lineShare[priorityClass];
  return {
    maxWaiting: Math.ceil(share * maxWaiting),
    maxWaitingTokens: Math.min(maxWaitingTokens, Math.max(share * maxWaitingTokens, contextTokens)),
  };
}

export interface LineState {
  waiting: number;
  waitingTokens: number;
  freeSlots: number;
}

/**
 * Takes all sequences of a request or none; they are of one class. A slot's window is fixed, so whoever fits
 * it can never run out of memory halfway. Lower classes leave room in the line for higher ones. Sequences
 * that will start in the next tick do not count against the line.
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
  const limits = lineLimits(config, specs[0]?.priorityClass ?? 'interactive');
  const rejection = admitToLine(specs.length, promptTokens, line, limits);
  const emptyLine = { waiting: 0, waitingTokens: 0, freeSlots: config.slotCount };
  if (!rejection || !admitToLine(specs.length, promptTokens, emptyLine, limits)) return rejection;
  return { reason: 'never', choices: specs.length, promptTokens };
}

function admitToLine(
  choices: number,
  promptTokens: number,
  line: LineState,
  limits: Pick<SchedulerConfig, 'maxWaiting' | 'maxWaitingTokens'>,
): Rejection | null {
  const waiting = line.waiting + choices;
  if (waiting > limits.maxWaiting + line.freeSlots) {
    return { reason: 'waiting', waiting: line.waiting, limit: limits.maxWaiting };
  }
  const waitingTokens = line.waitingTokens + promptTokens;
  if (waiting > line.freeSlots && waitingTokens > limits.maxWaitingTokens) {
    return { reason: 'waiting-tokens', waitingTokens: line.waitingTokens, limit: limits.maxWaitingTokens };
  }
  return null;
}
