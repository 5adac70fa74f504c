import type { TtftTargets } from './tick-planner.js';

/** What the scheduler aims for; limits are in `SchedulerConfig`. */
export interface SchedulingPolicy {
  /**
   * Milliseconds between two tokens of a running sequence that prefill must not push it over.
   * 0: throughput first; null: `automaticItlFactor` times a decode with all slots busy.
   */
  itlTargetMs: number | null;
  ttftTargetsMs: TtftTargets;
  /** Numbers of compute threads a tick may use, at least one. */
  threadChoices: readonly number[];
}

export const automaticItlFactor = 1.75;

/**
 * Under the automatic target, ticks may take so many times as long if they finish every prompt they begin:
 * prompts that a tick within the target could do alone are not cut. Each cut costs everybody a pass more and
 * the prompt a tick of waiting.
 */
export const wholePromptsFactor = 2;

/**
 * A prompt that is late by its TTFT target, or by more, may push gaps up to so many targets. Measured where long prompts
 * arrive faster than they can be computed (`interference`): with 1.5 the worst gaps are 0.11 times llama-server's.
 */
export const latePromptsFactor = 1.5;

/** Prefill takes what it needs, one thread. */
export const throughputFirst: SchedulingPolicy = {
  itlTargetMs: 0,
  ttftTargetsMs: { interactive: 2_000, standard: 10_000, batch: 600_000 },
  threadChoices: [1],
};
