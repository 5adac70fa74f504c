import { describe, expect, it } from 'vitest';
import type { SequenceSpec } from '../../scheduler/index.js';
import { Sequence } from '../../scheduler/sequence.js';
import { classAgingMs, WaitingQueue } from '../../scheduler/waiting-queue.js';
import { spec } from './support.js';

function queueOf(
  ...waiting: [id: number, arrivalMs: number, overrides?: Partial<SequenceSpec>][]
): WaitingQueue {
  const queue = new WaitingQueue();
  for (const [id, arrivalMs, overrides] of waiting) queue.add(new Sequence(spec(id, overrides), arrivalMs));
  return queue;
}

/** Serves everyone, charging `cost` to the tenant each time. */
function order(queue: WaitingQueue, cost = 0): number[] {
  const ids: number[] = [];
  for (let next = queue.next(); next; next = queue.next()) {
    ids.push(next.spec.id);
    queue.remove(next);
    queue.fairShare(next.spec.priorityClass).charge(next.spec.tenant, cost);
  }
  return ids;
}

describe('WaitingQueue', () => {
  it('is first come, first served inside a tenant', () => {
    expect(order(queueOf([1, 0], [2, 0], [3, 5]))).toEqual([1, 2, 3]);
  });

  it('serves higher classes first', () => {
    const queue = queueOf([1, 0, { priorityClass: 'batch' }], [2, 0, { priorityClass: 'standard' }], [3, 0]);
    expect(order(queue)).toEqual([3, 2, 1]);
  });

  it('lets a lower class pass once it has waited long enough', () => {
    const queue = queueOf(
      [1, 0, { priorityClass: 'batch' }],
      [2, 2 * classAgingMs - 1],
      [3, 2 * classAgingMs + 1],
    );
    expect(order(queue)).toEqual([2, 1, 3]);
  });

  it('shares between tenants by what they were served, not by how much they ask', () => {
    const flood = [1, 2, 3, 4].map((id): [number, number, object] => [id, 0, { tenant: 'flood' }]);
    expect(order(queueOf(...flood, [5, 9, { tenant: 'other' }], [6, 9, { tenant: 'other' }]), 10)).toEqual([
      1, 5, 2, 6, 3, 4,
    ]);
  });

  it('knows how many go before a newcomer', () => {
    const flood = [1, 2, 3, 4].map((id): [number, number, object] => [id, 0, { tenant: 'flood' }]);
    const high = { priorityClass: 'standard', tenant: 'other' } as const;
    const low = { priorityClass: 'batch', tenant: 'other' } as const;
    const queue = queueOf(...flood, [5, 0, high], [6, 0, high], [7, 0, low]);
    expect(queue.aheadOf('interactive', 'flood')).toBe(4);
    expect(queue.aheadOf('interactive', 'other')).toBe(1);
    expect(queue.aheadOf('standard', 'other')).toBe(6);
    expect(queue.aheadOf('standard', 'flood')).toBe(5);
    expect(queue.aheadOf('batch', 'flood')).toBe(7);
  });

  it('gives no credit for time away', () => {
    const queue = queueOf([1, 0, { tenant: 'busy' }], [2, 0, { tenant: 'busy' }], [3, 0, { tenant: 'busy' }]);
    const first = queue.next()!;
    queue.remove(first);
    queue.fairShare('interactive').charge('busy', 100);
    queue.add(new Sequence(spec(9, { tenant: 'late' }), 50));
    expect(queue.fairShare('interactive').served('late')).toBe(100);
  });

  it('counts what is in line by class and in tokens', () => {
    const queue = queueOf([1, 0], [2, 0, { priorityClass: 'batch' }]);
    expect(queue.count).toBe(2);
    expect(queue.promptTokens).toBe(6);
    expect(queue.countByClass()).toEqual({ interactive: 1, standard: 0, batch: 1 });
    queue.remove(queue.next()!);
    expect(queue.countByClass().interactive).toBe(0);
  });

  it('takes out exactly those whose deadline has passed', () => {
    const queue = queueOf([1, 0, { deadlineMs: 10 }], [2, 0, { deadlineMs: 20 }], [3, 0]);
    expect(queue.takeExpired(9)).toEqual([]);
    expect(queue.takeExpired(10).map((sequence) => sequence.spec.id)).toEqual([1]);
    expect(queue.takeExpired(30).map((sequence) => sequence.spec.id)).toEqual([2]);
    expect(order(queue)).toEqual([3]);
  });
});
