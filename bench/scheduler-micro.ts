import { parseArgs } from 'node:util';
import { Scheduler, type SequenceSpec, type TickPlan, type TickResult } from '../scheduler/index.js';
import { isMain } from './is-main.js';
import { Random } from './load/random.js';
import { mean, percentile, sorted } from './load/statistics.js';
import { readResults, resultsFiles, writeReport, writeResults } from './report/files.js';
import { machineInfo } from './report/machine.js';
import { formatNumber } from './report/metrics.js';
import type { SchedulerMicroRow } from './report/results.js';

const slotCounts = [32, 128, 256];
const waitingCounts = [10, 1_000, 10_000];
const outputTokens = 48;
const tickMs = 50;
const warmupTicks = 50;

/**
 * Time of planTick + applyTick alone, with all slots busy and the line kept at one length; no engine, a virtual clock.
 * Half of the prompts share one of eight prefixes of 200 tokens, the others have 64 tokens of their own.
 */
export function measureScheduler(slots: number, waiting: number, budgetMs: number): SchedulerMicroRow {
  const bench = new SchedulerBench(slots, waiting);
  for (let tick = 0; tick < warmupTicks; tick += 1) bench.tick();
  const tickMicros: number[] = [];
  const endMs = performance.now() + budgetMs;
  while (performance.now() < endMs) tickMicros.push(bench.tick());
  const ascending = sorted(tickMicros);
  return {
    slots,
    waiting,
    ticks: tickMicros.length,
    meanMicros: mean(tickMicros),
    p50Micros: percentile(ascending, 0.5),
    p99Micros: percentile(ascending, 0.99),
  };
}

class SchedulerBench {
  private readonly random: Random;
  private readonly scheduler: Scheduler;
  private readonly prefixes: Uint32Array[];
  private nextId = 1;
  private nowMs = 0;

  constructor(slots: number, waiting: number) {
    this.random = new Random(`scheduler ${slots} ${waiting}`);
    this.prefixes = Array.from({ length: 8 }, () => this.tokens(200));
    this.scheduler = new Scheduler({
      slotCount: slots,
      contextTokens: 1024,
      batchTokens: 512,
      maxWaiting: 1_000_000,
      maxWaitingTokens: 1_000_000_000,
      endTokens: new Set([0]),
    });
    this.submit(slots + waiting);
  }

  /** One tick and the replacement of what it finished; only plan and apply are timed. @returns microseconds */
  tick(): number {
    this.nowMs += tickMs;
    const plannedAtMs = performance.now();
    const { plan } = this.scheduler.planTick(this.nowMs);
    const planMs = performance.now() - plannedAtMs;
    if (!plan) throw new Error('the scheduler planned nothing although requests wait');
    const result = this.decode(plan);
    const appliedAtMs = performance.now();
    const events = this.scheduler.applyTick(result);
    const applyMs = performance.now() - appliedAtMs;
    this.submit(events.filter(({ type }) => type === 'finished').length);
    return (planMs + applyMs) * 1000;
  }

  private decode(plan: TickPlan): TickResult {
    const saves = plan.operations.flatMap((operation) =>
      operation.kind === 'save'
        ? [{ snapshotId: operation.snapshotId, bytes: operation.tokens.length * 24_000 }]
        : [],
    );
    const sampledTokens = plan.rows.map((row) => (row.sample ? this.random.integer(1, 49_151) : -1));
    return { outcome: 'decoded', sampledTokens, decodeMs: tickMs, saves };
  }

  private submit(count: number): void {
    for (let index = 0; index < count; index += 1) {
      const rejection = this.scheduler.submit([this.spec()], this.nowMs);
      if (rejection) throw new Error(`the scheduler rejected a request: ${JSON.stringify(rejection)}`);
    }
  }

  private spec(): SequenceSpec {
    const isShared = this.random.next() < 0.5;
    const prompt = isShared
      ? Uint32Array.from([...this.random.pick(this.prefixes), ...this.tokens(16)])
      : this.tokens(64);
    const id = this.nextId;
    this.nextId += 1;
    return {
      id,
      prompt,
      maxTokens: this.random.integer(outputTokens * 0.75, outputTokens * 1.25),
      ignoreEndToken: true,
      priorityClass: this.random.pick(['interactive', 'standard', 'batch'] as const),
      tenant: `tenant ${this.random.integer(1, 20)}`,
      cacheSalt: '',
      deadlineMs: null,
    };
  }

  private tokens(count: number): Uint32Array {
    return Uint32Array.from({ length: count }, () => this.random.integer(1, 49_151));
  }
}

export function measureAllSizes(budgetMs: number, onRow: (row: SchedulerMicroRow) => void = () => {}) {
  return slotCounts.flatMap((slots) =>
    waitingCounts.map((waiting) => {
      const row = measureScheduler(slots, waiting, budgetMs);
      onRow(row);
      return row;
    }),
  );
}

/** @returns exit code */
export function runSchedulerMicro(argv: string[]): number {
  const { values } = parseArgs({
    args: argv,
    options: { save: { type: 'boolean' }, 'budget-ms': { type: 'string', default: '1500' } },
  });
  process.stdout.write(
    'plan + apply per tick, microseconds\n slots  waiting     mean      p50      p99    ticks\n',
  );
  const rows = measureAllSizes(Number(values['budget-ms']), (row) => {
    const cells = [row.slots, row.waiting, row.meanMicros, row.p50Micros, row.p99Micros, row.ticks];
    process.stdout.write(
      `${cells.map((cell, column) => formatNumber(cell, 0).padStart(column === 0 ? 6 : 8)).join(' ')}\n`,
    );
  });
  const file = resultsFiles().find((each) => readResults(each).machine.cpu === machineInfo().cpu);
  if (values.save && file) {
    const results = { ...readResults(file), schedulerMicro: rows };
    writeResults(file, results);
    writeReport(file, results);
    process.stdout.write(`Wrote ${file}\n`);
  }
  return 0;
}

if (isMain(import.meta.url)) process.exitCode = runSchedulerMicro(process.argv.slice(2));
