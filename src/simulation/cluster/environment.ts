import type { OverflowPolicy } from '../../../scheduler/index.js';
import type { GenerationEvent } from '../../serving/serving-core.js';
import type { Timeline } from '../timeline.js';
import type { ClusterLedger } from './cluster-ledger.js';
import type { ClusterOrder } from './cluster-order.js';
import type { ClusterRules } from './cluster-rules.js';
import type { ClusterScenario } from './cluster-scenario.js';
import type { LineAndStore } from './line-and-store.js';
import type { LocalRuns } from './local-runs.js';
import type { SimulatedRedis } from './simulated-redis.js';
import type { Host, Network, StoreConnection } from './store-connection.js';

/** Everything the processes of a cluster share. */
export interface Environment {
  scenario: ClusterScenario;
  timeline: Timeline;
  network: Network;
  redis: SimulatedRedis;
  rules: ClusterRules;
  ledger: ClusterLedger;
  order: ClusterOrder;
  lineAndStore: LineAndStore;
  onTick: () => void;
}

/** A process as its drain sees it. */
export interface DrainHost extends Host {
  readonly environment: Environment;
  readonly connection: StoreConnection;
  readonly policy: OverflowPolicy;
  readonly local: LocalRuns | null;
  /** Whether it believes that the store can be reached. */
  readonly isUp: boolean;
  line(): { freeSlots: number; waiting: number };
  later(delayMs: number, action: () => void): void;
  every(periodMs: number, action: () => void): void;
  isGone(nodeId: string): boolean;
  noteFailure(): void;
  slotFreed(): void;
  serveHere(label: string): ((event: GenerationEvent) => void) | null;
  waitAgain(label: string, attempt: number): void;
}
