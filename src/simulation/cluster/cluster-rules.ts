import { OverflowPolicy, OverflowQueue, overflowCost, Scheduler } from '../../../scheduler/index.js';
import { resumeFrom } from '../../overflow/frame.js';
import { comesAfter, follows } from '../../serving/event-id.js';

/** The rules that are simulated, all of them the real ones; a mutant replaces some. */
export const realRules = {
  Scheduler,
  OverflowPolicy,
  OverflowQueue,
  overflowCost,
  resumeFrom,
  comesAfter,
  follows,
};
export type ClusterRules = typeof realRules;
