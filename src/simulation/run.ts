import type { EventLog } from './event-log.js';
import type { Timeline } from './timeline.js';
import { asViolation, type Violation } from './violation.js';

/** What both simulations, of one node and of a cluster, can be asked for. */
export interface RunOptions {
  /** Ticks with arrivals and faults; then everything has to end. */
  ticks: number;
  /** Keeps the log as text. */
  keepsLog?: boolean;
  /** Shrinking leaves out requests and faults. */
  keepRequest?: (label: string) => boolean;
  keepFault?: (name: string) => boolean;
}

/** What both say of a run. */
export interface RunReport<Scenario> {
  scenario: Scenario;
  violation: Violation | null;
  /** The tick in which it failed, or ended. */
  tick: number;
  hash: string;
  log: readonly string[];
  simulatedMs: number;
  /** Labels of requests, and names of faults such as `17:slow-call`, that took part. */
  requests: readonly string[];
  faults: readonly string[];
  tokens: number;
}

/** Runs to the end, or to a violation, which becomes the last entry of the log. */
export function runToEnd(
  run: () => void,
  log: EventLog,
  timeline: Timeline,
): Pick<RunReport<unknown>, 'violation' | 'hash' | 'log' | 'simulatedMs'> {
  let violation: Violation | null = null;
  try {
    run();
  } catch (error) {
    violation = asViolation(error);
    log.add(timeline.nowMs, 'VIOLATION', [violation.invariant, violation.message]);
  }
  return { violation, hash: log.hash, log: log.lines, simulatedMs: timeline.nowMs };
}
