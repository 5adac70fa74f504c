import { describe, expect, it } from 'vitest';
import { OverflowPolicy, OverflowQueue, priorityClasses, Scheduler } from '../../scheduler/index.js';
import { explainClusterFailure } from '../../src/simulation/cluster/cluster-command.js';
import { type ClusterRules, realRules } from '../../src/simulation/cluster/cluster-rules.js';
import { drawClusterScenario } from '../../src/simulation/cluster/cluster-scenario.js';
import { type ClusterReport, simulateCluster } from '../../src/simulation/cluster/cluster-simulation.js';

const seeds = Array.from({ length: 60 }, (_, index) => index + 1);
const ticks = 150;

function noticedBy(rules: Partial<ClusterRules>, invariant: string): string {
  const noticed = new Set<string>();
  for (const seed of seeds) {
    const { violation } = simulateCluster(drawClusterScenario(seed), {
      ticks,
      rules: { ...realRules, ...rules },
    });
    if (violation) noticed.add(violation.invariant);
    if (noticed.has(invariant)) return invariant;
  }
  return [...noticed].join(', ');
}

describe('two workers and an overflow store', { timeout: 60_000 }, () => {
  it('keep every invariant, through every kind of fault', () => {
    const reports: ClusterReport[] = [];
    for (const seed of seeds) {
      const report = simulateCluster(drawClusterScenario(seed), { ticks });
      if (report.violation) throw new Error(explainClusterFailure(report, ticks));
      reports.push(report);
    }
    const total = (count: (report: ClusterReport) => number) =>
      reports.reduce((sum, report) => sum + count(report), 0);
    expect(total(({ stored }) => stored)).toBeGreaterThan(500);
    expect(total(({ retries }) => retries)).toBeGreaterThan(20);
    for (const ending of ['done', 'refused', 'expired', 'cancelled', 'cut']) {
      expect(
        total(({ endings }) => endings.get(ending) ?? 0),
        ending,
      ).toBeGreaterThan(20);
    }
  });

  it('do the same for the same seed', () => {
    for (const seed of seeds.slice(0, 5)) {
      const [first, second] = [1, 2].map(() => simulateCluster(drawClusterScenario(seed), { ticks }).hash);
      expect(second).toBe(first);
    }
  });

  it.each<[string, Partial<ClusterRules>, string]>([
    [
      'nobody looks at the numbers of frames',
      { comesAfter: () => true, follows: () => true },
      'tokens-exact',
    ],
    [
      'whoever goes on begins at the start',
      { resumeFrom: (_, texts) => realRules.resumeFrom(_, texts).map((point) => ({ ...point, tokens: [] })) },
      'tokens-exact',
    ],
    [
      'nobody may wait',
      {
        Scheduler: class extends Scheduler {
          override submit(...[specs, nowMs]: Parameters<Scheduler['submit']>) {
            const impatient = specs.map((spec) => ({ ...spec, deadlineMs: nowMs }));
            return super.submit(impatient, nowMs);
          }
        },
      },
      'ends-for-a-reason',
    ],
    [
      'nobody looks which of his requests wait in the store',
      {
        OverflowPolicy: class extends OverflowPolicy {
          override admitsDirectly(...[newcomer, line, queued]: Parameters<OverflowPolicy['admitsDirectly']>) {
            return newcomer.queuedOfTenant > 0 || super.admitsDirectly(newcomer, line, queued);
          }
        },
      },
      'no-overtaking',
    ],
    [
      'the store is never drained',
      {
        OverflowPolicy: class extends OverflowPolicy {
          override pulls() {
            return 0;
          }
        },
      },
      'liveness',
    ],
    [
      'nobody counts who waits in the store',
      {
        OverflowQueue: class<Item> extends OverflowQueue<Item> {
          override get size() {
            return 0;
          }
        },
      },
      'store-bound',
    ],
    [
      'the line takes newcomers again as soon as it is a little shorter',
      {
        OverflowPolicy: class extends OverflowPolicy {
          override admitsDirectly(...[newcomer, line, queued]: Parameters<OverflowPolicy['admitsDirectly']>) {
            const targetWaitMs = newcomer.targetWaitMs * (this.isOverflowing ? 2 : 1);
            return super.admitsDirectly({ ...newcomer, targetWaitMs }, line, queued);
          }
        },
      },
      'hysteresis',
    ],
    [
      'whoever is put back goes to the end',
      {
        OverflowQueue: class<Item> extends OverflowQueue<Item> {
          private readonly known = new Set<string>();
          override add(...[id, place, item]: Parameters<OverflowQueue<Item>['add']>) {
            super.add(id, this.known.has(id) ? { ...place, start: place.start + 1000 } : place, item);
            this.known.add(id);
          }
        },
      },
      'no-overtaking',
    ],
    [
      'a low class waits in the store for as long as there is a higher one',
      {
        OverflowQueue: class<Item> extends OverflowQueue<Item> {
          protected override nextClass() {
            const waiting = new Set([...this.entries()].map(([, { place }]) => place.priorityClass));
            return priorityClasses.find((name) => waiting.has(name)) ?? null;
          }
        },
      },
      'store-ageing',
    ],
    [
      'nobody pays in the store',
      {
        OverflowQueue: class<Item> extends OverflowQueue<Item> {
          override place(...[priorityClass, tenant, , ms]: Parameters<OverflowQueue<Item>['place']>) {
            return super.place(priorityClass, tenant, 0, ms);
          }
        },
      },
      'store-fairness',
    ],
  ])('notice when %s', (_, rules, invariant) => {
    expect(noticedBy(rules, invariant)).toBe(invariant);
  });
});
