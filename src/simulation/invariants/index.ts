import { maxFailedTicks } from '../../../scheduler/scheduler.js';
import { isFaultless } from '../scenario.js';
import { Budget } from './budget.js';
import { BulkWork } from './bulk.js';
import { FairService } from './fair-service.js';
import { Holds } from './holds.js';
import type { Invariant, World } from './invariant.js';
import { ExpiresInTime, GivesUp, LeavesAtOnce, Liveness, NoTokenLost, SleepsOnlyWhenIdle } from './life.js';
import { LineOrder, QueueBounds } from './line.js';
import { PreemptionsBounded, PreemptsLowerClass } from './preemption.js';
import { BatchSize, PassesExact, RowContents, RowsAscending } from './rows.js';
import { KvLength, SlotsConserved } from './slots.js';

/**
 * Every name under which a run can fail; `scheduler-assertion` and `crash` are exceptions out of the
 * scheduler itself.
 */
export const invariantNames = [
  'rows-ascending',
  'slots-owned-once',
  'slots-conserved',
  'batch-size',
  'passes-exact',
  'positions-contiguous',
  'row-tokens',
  'cached-is-true',
  'salts-apart',
  'kv-length',
  'ends-once',
  'resumes-once',
  'preempts-lower-class',
  'preemptions-bounded',
  'ends-for-a-reason',
  'tokens-exact',
  'no-token-lost',
  'leaves-at-once',
  'gives-up',
  'expires-in-time',
  'queue-bounds',
  'line-order',
  'work-conserving',
  'fair-service',
  'everyone-rides',
  'budget-spent',
  'greedy-prefill',
  'itl-budget',
  'holds-briefly',
  'bulk-bounded',
  'bulk-moves',
  'bulk-takes-turns',
  'bulk-keeps-short',
  'sleeps-only-when-idle',
  'liveness',
  'scheduler-assertion',
  'crash',
] as const;

export function createInvariants(world: World): Invariant[] {
  const invariants: Invariant[] = [
    new RowsAscending(world),
    new BatchSize(world),
    new PassesExact(world),
    new RowContents(world),
    new SlotsConserved(world),
    new KvLength(world),
    new NoTokenLost(world),
    new LeavesAtOnce(world),
    new GivesUp(world, maxFailedTicks),
    new ExpiresInTime(world),
    new QueueBounds(world),
    new LineOrder(world),
    new PreemptsLowerClass(world),
    new PreemptionsBounded(world),
    new Budget(world),
    new BulkWork(world),
    new Holds(world),
    new SleepsOnlyWhenIdle(world),
    new Liveness(world),
  ];
  if (isFaultless(world.scenario.faults)) invariants.push(new FairService(world));
  return invariants;
}
