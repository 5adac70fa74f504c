import type { LineView, Newcomer, OverflowPolicy } from '../../../scheduler/index.js';
import { require } from '../violation.js';
import type { ClusterScenario } from './cluster-scenario.js';
import type { SimulatedRedis } from './simulated-redis.js';
import type { Network } from './store-connection.js';

/** While the store waits, one freed slot of two is its own; the rest is what ends while a job is on its way. */
const turns = 2;
const ticksOnTheWay = 6;

interface PolicyHolder {
  readonly id: string;
  readonly policy: Pick<OverflowPolicy, 'isOverflowing'>;
}

/** How each process shares its slots between its own line and the store. */
export class LineAndStore {
  /** Between taking newcomers directly and handing them on, all processes together. */
  switches = 0;
  private readonly scenario: ClusterScenario;
  private readonly network: Network;
  private readonly redis: SimulatedRedis;
  private readonly freed = new WeakMap<PolicyHolder, number>();
  private readonly isOverflowing = new WeakMap<PolicyHolder, boolean>();
  private readonly isCalm: boolean;

  constructor(scenario: ClusterScenario, network: Network, redis: SimulatedRedis) {
    this.scenario = scenario;
    this.network = network;
    this.redis = redis;
    this.isCalm = Object.values(scenario.faultShares).every((share) => share === 0);
  }

  /** A sequence ended on a worker. */
  slotFreed(node: PolicyHolder): void {
    if (!this.isCalm) return;
    const isWaiting = this.redis.queue.size > 0 && this.network.state === 'up';
    const freed = isWaiting ? (this.freed.get(node) ?? 0) + 1 : 0;
    this.freed.set(node, freed);
    const bound = turns + ticksOnTheWay * this.scenario.worker.config.slotCount;
    require(freed <= bound, 'store-gets-its-turn', () =>
      `${freed} slots of ${node.id} were given to its line while the store waited`);
  }

  /** A job from the store came into the line. */
  drained(node: PolicyHolder): void {
    this.freed.set(node, 0);
  }

  /**
   * A newcomer was sent one way or the other.
   * @param queued requests of this process that wait in the store, as far as it knows
   */
  decided(node: PolicyHolder, newcomer?: Newcomer, line?: LineView, queued = 0): void {
    const { isOverflowing } = node.policy;
    const wasOverflowing = this.isOverflowing.get(node) ?? false;
    if (wasOverflowing && newcomer && line) this.goesBackForAReason(node, newcomer, line, queued);
    if (wasOverflowing === isOverflowing) return;
    this.isOverflowing.set(node, isOverflowing);
    this.switches += 1;
  }

  /** Not while anything waits in the store, and not before the line is half as long as when it was left. */
  private goesBackForAReason(node: PolicyHolder, newcomer: Newcomer, line: LineView, queued: number): void {
    if (node.policy.isOverflowing) return;
    const { choices, targetWaitMs } = newcomer;
    const isShort = line.freeSlots - line.waiting >= choices || line.estimatedWaitMs <= targetWaitMs / 2;
    require(queued === 0 && isShort, 'hysteresis', () =>
      `${node.id} takes newcomers again with ${queued} in the store and a wait of ${line.estimatedWaitMs} ms`);
  }
}
