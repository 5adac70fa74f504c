import type { invariantNames } from '../../src/simulation/invariants/index.js';

/** Deliberate mistakes in the scheduler. Each must be noticed by the simulation, and each invariant must notice one. */
export interface Mutant {
  name: string;
  /** File in scheduler/. */
  file: string;
  /** Text that must occur exactly once. */
  from: string;
  to: string;
  /** The invariant that notices it in one of the seeds of CI; in other seeds another one may be faster. */
  caughtBy: (typeof invariantNames)[number];
}

export const mutants: readonly Mutant[] = [
  {
    name: 'off by one in the budget: a token more than the batch holds',
    file: 'tick-sharing.ts',
    from: 'this.config.batchTokens - decoding.length,',
    to: 'this.config.batchTokens - decoding.length + 1,',
    caughtBy: 'scheduler-assertion',
  },
  {
    name: 'off by one in the budget: a token of the batch stays unused',
    file: 'tick-sharing.ts',
    from: 'this.config.batchTokens - decoding.length,',
    to: 'this.config.batchTokens - decoding.length - 1,',
    caughtBy: 'budget-spent',
  },
  {
    name: 'missing release on cancel in prefill',
    file: 'scheduler.ts',
    from: 'this.pool.release(sequence);',
    to: "if (reason !== 'cancelled' || !sequence.isPrefilling) this.pool.release(sequence);",
    caughtBy: 'slots-conserved',
  },
  {
    name: 'wrong tie-break: of equally served tenants the youngest goes first',
    file: 'waiting-queue.ts',
    from: 'head.spec.id < chosen!.spec.id',
    to: 'head.spec.id > chosen!.spec.id',
    caughtBy: 'line-order',
  },
  {
    name: 'lower classes go first when equally old',
    file: 'waiting-queue.ts',
    from: 'rank * classAgingMs',
    to: '-rank * classAgingMs',
    caughtBy: 'line-order',
  },
  {
    name: 'a tenant is served last come, first served',
    file: 'waiting-queue.ts',
    from: 'line.values().next().value!',
    to: '[...line.values()].at(-1)!',
    caughtBy: 'line-order',
  },
  {
    name: 'stale prefix entry: the whole prompt counts as computed',
    file: 'slot-pool.ts',
    from: 'isHeld ? sequence.computed() : noTokens',
    to: 'isHeld ? sequence.spec.prompt : noTokens',
    caughtBy: 'cached-is-true',
  },
  {
    name: 'stale prefix entry: what a busy donor has yet to compute is copied',
    file: 'prefix-cache.ts',
    from: 'Math.min(shared, availableTokens(holder))',
    to: 'shared',
    caughtBy: 'cached-is-true',
  },
  {
    name: "the cache of a tenant becomes everybody's",
    file: 'slot-pool.ts',
    from: 'slot.cacheSalt = sequence.spec.cacheSalt;',
    to: "slot.cacheSalt = '';",
    caughtBy: 'salts-apart',
  },
  {
    name: 'a moved sequence leaves its KV behind',
    file: 'slot-pool.ts',
    from: 'this.cache.planned.copy(from.index, toSlot, sequence.computedTokens);',
    to: '',
    caughtBy: 'slots-owned-once',
  },
  {
    name: 'a prefix match is one token too long',
    file: 'prefix-cache.ts',
    from: 'Math.min(shared, availableTokens(holder))',
    to: 'Math.min(shared + 1, availableTokens(holder), spec.prompt.length - 1)',
    caughtBy: 'cached-is-true',
  },
  {
    name: 'a slot is restored into while another is copied from it',
    file: 'planned-operations.ts',
    from: 'return !this.donors.has(slot);',
    to: 'return true;',
    caughtBy: 'cached-is-true',
  },
  {
    name: 'a snapshot makes room for another while it is restored',
    file: 'snapshots.ts',
    from: 'if (!snapshot.isSaved || this.index.isLocked(snapshot)) continue;',
    to: 'if (!snapshot.isSaved) continue;',
    caughtBy: 'scheduler-assertion',
  },
  {
    name: 'a released slot stays indexed with all of its prompt',
    file: 'prefix-cache.ts',
    from: 'this.index.insert(slot.cacheSalt, slot, slot.cached);',
    to: 'if (slot.cached.length > 0) this.index.insert(slot.cacheSalt, slot, slot.cached);',
    caughtBy: 'scheduler-assertion',
  },
  {
    name: 'whoever waits for a prefix is never looked at again',
    file: 'scheduler.ts',
    from: 'for (const sequence of this.running) if (!sequence.isSettled) this.settle(sequence);',
    to: '',
    caughtBy: 'liveness',
  },
  {
    name: 'lost wake-up: requests in line are no work',
    file: 'scheduler.ts',
    from: 'this.running.size > 0 || this.queue.count > 0 || this.pendingEvents.length > 0',
    to: 'this.running.size > 0 || this.pendingEvents.length > 0',
    caughtBy: 'sleeps-only-when-idle',
  },
  {
    name: 'lost wake-up: events not yet told are no work',
    file: 'scheduler.ts',
    from: 'this.running.size > 0 || this.queue.count > 0 || this.pendingEvents.length > 0',
    to: 'this.running.size > 0 || this.queue.count > 0',
    caughtBy: 'sleeps-only-when-idle',
  },
  {
    name: 'the old tail of a reused slot stays',
    file: 'tick-planner.ts',
    from: 'if (kvTokens !== owner.computedTokens) {',
    to: 'if (kvTokens === null) {',
    caughtBy: 'positions-contiguous',
  },
  {
    name: 'after a failed call the sequence goes on as if nothing had happened',
    file: 'sequence.ts',
    from: 'this.computedTokens = 0;\n    this.cachedTokens = 0;',
    to: '',
    caughtBy: 'liveness',
  },
  {
    name: 'a row carries the token after the next one',
    file: 'sequence.ts',
    from: 'this.tokens.subarray(this.computedTokens, this.computedTokens + count)',
    to: 'this.tokens.subarray(this.computedTokens + 1, this.computedTokens + 1 + count)',
    caughtBy: 'row-tokens',
  },
  {
    name: 'a failed call is believed to have left the slots as they were',
    file: 'scheduler.ts',
    from: 'this.pool.lose(slot, null);',
    to: '',
    caughtBy: 'kv-length',
  },
  {
    name: 'a lost slot keeps its account',
    file: 'scheduler.ts',
    from: 'for (const index of lost) this.pool.lose(this.pool.slots[index]!, 0);',
    to: '',
    caughtBy: 'kv-length',
  },
  {
    name: 'whoever leaves in mid-call is forgotten',
    file: 'scheduler.ts',
    from: 'if (sequence?.endingReason) this.close(sequence, sequence.endingReason, null);',
    to: '',
    caughtBy: 'leaves-at-once',
  },
  {
    name: 'failures never count',
    file: 'scheduler.ts',
    from: 'sequence.failedTicks += 1;',
    to: '',
    caughtBy: 'gives-up',
  },
  {
    name: 'failures count for ever',
    file: 'scheduler.ts',
    from: 'sequence.failedTicks = 0;',
    to: '',
    caughtBy: 'ends-for-a-reason',
  },
  {
    name: 'the end token is delivered',
    file: 'scheduler.ts',
    from: 'if (this.config.endTokens.has(token) && !sequence.spec.ignoreEndToken) {',
    to: 'if (this.config.endTokens.has(token) && sequence.spec.ignoreEndToken) {',
    caughtBy: 'tokens-exact',
  },
  {
    name: 'one token more than asked for',
    file: 'scheduler.ts',
    from: 'sequence.generatedTokens >= sequence.spec.maxTokens',
    to: 'sequence.generatedTokens > sequence.spec.maxTokens',
    caughtBy: 'tokens-exact',
  },
  {
    name: 'a sampled token is not delivered',
    file: 'scheduler.ts',
    from: "this.pendingEvents.push({ type: 'token', sequenceId: row.sequenceId, token, index });",
    to: "if (index % 7 !== 6) this.pendingEvents.push({ type: 'token', sequenceId: row.sequenceId, token, index });",
    caughtBy: 'no-token-lost',
  },
  {
    name: 'the end is told twice',
    file: 'scheduler.ts',
    from: '    this.sequences.delete(sequence.spec.id);\n',
    to: "    this.sequences.delete(sequence.spec.id);\n    if (reason === 'cancelled') this.pendingEvents.push({ type: 'finished', sequenceId: sequence.spec.id, reason, generatedTokens: sequence.generatedTokens, cachedTokens: 0, message });\n",
    caughtBy: 'ends-once',
  },
  {
    name: 'a slot is given away without being taken',
    file: 'slot-pool.ts',
    from: 'if (slot.owner !== null) continue;',
    to: 'if (slot.owner !== null && slot.index % 5 !== 4) continue;',
    caughtBy: 'slots-owned-once',
  },
  {
    name: 'rows in the order of start, not of slots',
    file: 'tick-planner.ts',
    from: 'return { rows, operations };',
    to: 'return { rows: rows.reverse(), operations };',
    caughtBy: 'scheduler-assertion',
  },
  {
    name: 'rows in descending order, nobody asserts',
    file: 'scheduler.ts',
    from: 'assertRows(rows, this.config);',
    to: 'rows.reverse();',
    caughtBy: 'rows-ascending',
  },
  {
    name: 'the batch is too full, nobody asserts',
    file: 'scheduler.ts',
    from: `nowMs);
    const { rows, operations } = layOutRows(this.pool.slots, shares);
    if (rows.length === 0) return { plan: null, events: this.takeEvents() };
    assertRows(rows, this.config);`,
    to: `nowMs);
    for (const [each] of shares) shares.set(each, each.pendingTokens);
    const { rows, operations } = layOutRows(this.pool.slots, shares);
    if (rows.length === 0) return { plan: null, events: this.takeEvents() };`,
    caughtBy: 'batch-size',
  },
  {
    name: 'a hole between slots is not seen',
    file: 'pass-count.ts',
    from: 'rows[end]!.slot === rows[end - 1]!.slot + 1 && ',
    to: '',
    caughtBy: 'passes-exact',
  },
  {
    name: 'deadlines are looked at one reading too late',
    file: 'waiting-queue.ts',
    from: 'if (deadlineMs <= nowMs) expired.push(sequence);',
    to: 'if (deadlineMs < nowMs) expired.push(sequence);',
    caughtBy: 'expires-in-time',
  },
  {
    name: 'one place in line too few',
    file: 'admission.ts',
    from: 'waiting > config.maxWaiting + line.freeSlots',
    to: 'waiting >= config.maxWaiting + line.freeSlots',
    caughtBy: 'queue-bounds',
  },
  {
    name: 'tokens in line are counted too late',
    file: 'waiting-queue.ts',
    from: 'this.totalTokens -= sequence.spec.prompt.length;',
    to: '',
    caughtBy: 'queue-bounds',
  },
  {
    name: 'service is not charged',
    file: 'scheduler.ts',
    from: '.charge(sequence.spec.tenant, cost)',
    to: '.charge(sequence.spec.tenant, 0)',
    caughtBy: 'fair-service',
  },
  {
    name: 'a free slot stays free until the line is long',
    file: 'scheduler.ts',
    from: 'while (this.pool.freeCount > 0) {',
    to: 'while (this.pool.freeCount > 1) {',
    caughtBy: 'work-conserving',
  },
  {
    name: 'decoding rows are left out when prompts wait',
    file: 'tick-planner.ts',
    from: 'decoding.map((sequence) => [sequence, 1])',
    to: 'decoding.slice(prefilling.length > 2 ? 1 : 0).map((sequence) => [sequence, 1])',
    caughtBy: 'everyone-rides',
  },
  {
    name: 'prompts are given equal parts',
    file: 'tick-planner.ts',
    from: 'Math.min(sequence.pendingTokens, remaining)',
    to: 'Math.min(sequence.pendingTokens, remaining, Math.ceil(prefillTokens / prefilling.length))',
    caughtBy: 'greedy-prefill',
  },
  {
    name: 'prefill may use the whole target, whatever decoding needs',
    file: 'prefill-budget.ts',
    from: 'plannedShare * itlTargetMs - decodeMs;',
    to: 'plannedShare * itlTargetMs;',
    caughtBy: 'itl-budget',
  },
  {
    name: 'prefill waits as long as anybody decodes',
    file: 'prefill-budget.ts',
    from: 'if (decodeMs === 0 || itlTargetMs === 0) return this.settle(freeTokens);',
    to: 'if (decodeMs === 0) return this.settle(freeTokens); if (itlTargetMs === 0) return 0;',
    caughtBy: 'budget-spent',
  },
  {
    name: 'an empty plan while there is work',
    file: 'scheduler.ts',
    from: 'if (rows.length === 0) return',
    to: 'if (rows.length < 2 && this.config.slotCount > 4) return',
    caughtBy: 'liveness',
  },
  {
    name: 'an exception where nobody expects one',
    file: 'waiting-queue.ts',
    from: 'if (!this.of(sequence.spec.priorityClass).remove(sequence)) return false;',
    to: "if (!this.of(sequence.spec.priorityClass).remove(sequence)) throw new TypeError('gone');",
    caughtBy: 'crash',
  },
];
