import type { Sequence } from './sequence.js';
import { classRank } from './sequence-spec.js';

/** A burst of a higher class gets its slots over several ticks, so that saving what it displaces never eats one. */
export const maxPreemptionsPerTick = 4;

const firstStayTokens = 8;

/**
 * Tokens a sequence generates in peace after it was preempted, twice as many as after the time before. So every
 * preemption is paid for by progress, and there are at most 1 + log2(maxTokens / 8 + 1) of them.
 * @param earlierPreemptions 0 the first time
 */
export function stayTokens(earlierPreemptions: number): number {
  return firstStayTokens * 2 ** earlierPreemptions;
}

/**
 * Who gives up its slot for a waiting sequence of a higher class: of the lowest class the one with the fewest tokens to
 * bring back, then the one that started last. Classes count as they are, not as they age in the line: whoever got its
 * slot by aging may have to wait again, but not before it has made progress.
 * @param mayLeave whether nothing is planned into its slot yet
 */
export function chooseVictim(
  running: Iterable<Sequence>,
  waiting: Sequence,
  mayLeave: (sequence: Sequence) => boolean,
): Sequence | null {
  let victim: Sequence | null = null;
  for (const sequence of running) {
    if (classRank(sequence.spec) <= classRank(waiting.spec)) continue;
    if (!sequence.isPreemptible || !mayLeave(sequence)) continue;
    if (victim === null || losesLess(sequence, victim)) victim = sequence;
  }
  return victim;
}

function losesLess(left: Sequence, right: Sequence): boolean {
  const byClass = classRank(right.spec) - classRank(left.spec);
  const byTokens = left.computedTokens - right.computedTokens;
  // Start ranks are unique, so there are no ties.
  return (byClass || byTokens || right.startRank - left.startRank) < 0;
}
