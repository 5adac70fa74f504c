import type {
  Rejection,
  Scheduler,
  SchedulerEvent,
  SchedulerStats,
  SequenceSpec,
  TickPlan,
} from '../../../scheduler/index.js';
import type { Ledger } from '../ledger.js';
import type { SimulatedMachine } from '../machine.js';
import type { Scenario } from '../scenario.js';

/** The parts of the scheduler that the simulation drives and looks at; a mutant is one too. */
export type SchedulerUnderTest = Pick<
  Scheduler,
  | 'submit'
  | 'cancel'
  | 'finish'
  | 'planTick'
  | 'applyTick'
  | 'hasWork'
  | 'slotTokens'
  | 'loseSlot'
  | 'stats'
  | 'costs'
  | 'itlTargetMs'
  | 'checkIntegrity'
>;

/** What an invariant can look at. */
export interface World {
  scenario: Scenario;
  scheduler: SchedulerUnderTest;
  ledger: Ledger;
  machine: SimulatedMachine;
  /** The scheduler's, taken once for all invariants that look after a plan or a result. */
  stats: SchedulerStats;
}

/** Something that must hold in every run. Called in the order of the methods; throws `Violation`. */
export interface Invariant {
  /** After a submission, before the ledger knows of it. */
  submitted?(specs: readonly SequenceSpec[], rejection: Rejection | null, before: SchedulerStats): void;
  /** Before the ledger takes an event. */
  event?(event: SchedulerEvent, clockMs: number): void;
  /** A tick was planned and its events were taken. */
  planned?(plan: TickPlan | null, clockMs: number): void;
  /** The next tick is held for so long, or until somebody comes. */
  held?(longestMs: number, clockMs: number): void;
  /** The plan's operations were applied, its rows are next. */
  decodable?(plan: TickPlan): void;
  /** The result was applied, its events were taken, the driver has compared the slots it touched. */
  applied?(clockMs: number): void;
  /** The tick loop goes to sleep. */
  asleep?(): void;
  /** Faults and arrivals have ended. */
  calmed?(): void;
}
