import { batchUnderInteractive } from './batch-under-interactive.js';
import { interference } from './interference.js';
import { multiTurn } from './multi-turn.js';
import { sharedPrefix, sharedPrefixWarm, sharedPrompts } from './prefix.js';
import { rateSweep } from './rate-sweep.js';
import type { Scenario } from './scenario.js';
import { concurrency, single, throughput } from './steady.js';
import { disconnects, overload, sparse } from './stress.js';

/** All scenarios, in the order of the report. */
export const scenarios: readonly Scenario[] = [
  throughput,
  single,
  concurrency,
  interference,
  sharedPrefix(200),
  sharedPrefixWarm(200),
  sharedPrompts(8, 200),
  sharedPrefix(1000, 1 / 4),
  multiTurn,
  sparse,
  rateSweep,
  overload,
  disconnects,
  batchUnderInteractive,
];

/**
 * @param names exact names, "all", or a family such as "shared-prefix"
 * @throws RangeError that lists the known names
 */
export function selectScenarios(names: readonly string[]): Scenario[] {
  const selected = new Set<Scenario>();
  for (const name of names) {
    const exact = scenarios.filter((each) => each.name === name);
    const family = scenarios.filter((each) => name === 'all' || each.name.startsWith(`${name}-`));
    const matches = exact.length > 0 ? exact : family;
    if (matches.length === 0) {
      throw new RangeError(
        `Unknown scenario "${name}"; known: all, ${scenarios.map((each) => each.name).join(', ')}.`,
      );
    }
    for (const match of matches) selected.add(match);
  }
  return scenarios.filter((each) => selected.has(each));
}
