import { estimate, pairedRatio, type Ratio } from '../load/statistics.js';
import { formatNumber } from './metrics.js';
import { type BenchResults, type RunResult, runsOf } from './results.js';

/** One figure that the project set out to reach. */
export interface Goal {
  id: string;
  scenario: string;
  text: string;
  /** Above or below, never both. */
  atLeast?: number;
  atMost?: number;
  unit: 'x' | '%' | '';
  measured: (results: BenchResults) => Ratio;
}

export interface GoalRow extends Goal {
  value: Ratio;
  isMet: boolean;
}

const ours = 'chairlift';
const none: Ratio = { ratio: Number.NaN, lower: Number.NaN, upper: Number.NaN, count: 0 };

/** Ours over theirs as they stand, paired by seed: below 1 is less time. */
function against(subject: string, scenario: string, metric: string) {
  return (results: BenchResults): Ratio =>
    pairedRatio(
      runsOf(results, scenario, ours).flatMap((run) => {
        const other = runsOf(results, scenario, subject).find(({ seed }) => seed === run.seed);
        return other
          ? [[run.metrics[metric] ?? Number.NaN, other.metrics[metric] ?? Number.NaN] as const]
          : [];
      }),
    );
}

/** A metric that is a ratio by itself, mean over seeds. */
function own(scenario: string, metric: string) {
  return (results: BenchResults): Ratio =>
    meanOf(runsOf(results, scenario, ours), (run) => run.metrics[metric]);
}

function meanOf(runs: readonly RunResult[], of: (run: RunResult) => number | undefined): Ratio {
  const { mean, halfWidth, count } = estimate(runs.map((run) => of(run) ?? Number.NaN));
  return { ratio: mean, lower: mean - halfWidth, upper: mean + halfWidth, count };
}

function ofCeiling(results: BenchResults): Ratio {
  const ceilings = (results.ceiling ?? []).map(({ generatedTokensPerSecond }) => generatedTokensPerSecond);
  if (ceilings.length === 0) return none;
  const { mean: ceiling } = estimate(ceilings);
  return meanOf(
    runsOf(results, 'throughput', ours),
    ({ metrics }) => (metrics.generatedTokensPerSecond ?? Number.NaN) / ceiling,
  );
}

/** Goodput at three times the capacity against the best goodput at any rate of the sweep. */
function ofPeakGoodput(results: BenchResults): Ratio {
  const { mean: peak } = estimate(
    runsOf(results, 'rate-sweep', ours).map(
      ({ metrics }) => metrics.bestGoodputRequestsPerSecond ?? Number.NaN,
    ),
  );
  return meanOf(
    runsOf(results, 'overload', ours),
    ({ metrics }) => (metrics.goodputRequestsPerSecond ?? Number.NaN) / peak,
  );
}

const tokens = 'generatedTokensPerSecond';

export const goals: readonly Goal[] = [
  {
    id: 'throughput',
    scenario: 'throughput',
    text: 'Generated tok/s at 32 clients / llama-server',
    atLeast: 1.15,
    unit: 'x',
    measured: against('llama-server', 'throughput', tokens),
  },
  {
    id: 'ceiling',
    scenario: 'throughput',
    text: 'Generated tok/s at 32 clients / llama-batched-bench',
    atLeast: 0.95,
    unit: '%',
    measured: ofCeiling,
  },
  {
    id: 'single',
    scenario: 'single',
    text: 'Generated tok/s of one client / llama-server',
    atLeast: 0.95,
    unit: 'x',
    measured: against('llama-server', 'single', tokens),
  },
  {
    id: 'interference-itl',
    scenario: 'interference',
    text: 'Steady ITL p99 / llama-server, defaults',
    atMost: 0.15,
    unit: 'x',
    measured: against('llama-server-default', 'interference', 'itlP99Ms'),
  },
  {
    id: 'interference-total',
    scenario: 'interference',
    text: 'Time for all of the work / llama-server, defaults',
    atMost: 1.05,
    unit: 'x',
    measured: against('llama-server-default', 'interference', 'totalSeconds'),
  },
  {
    id: 'interference-ttft',
    scenario: 'interference',
    text: 'Long prompt TTFT p50 / llama-server, defaults',
    atMost: 1.3,
    unit: 'x',
    measured: against('llama-server-default', 'interference', 'longTtftP50Ms'),
  },
  {
    id: 'sparse',
    scenario: 'sparse',
    text: '8 scattered of 32 slots / 8 neighbours alone, tok/s',
    atLeast: 0.95,
    unit: '%',
    measured: own('sparse', 'sparseOfDense'),
  },
  {
    id: 'shared-prefix-tokens',
    scenario: 'shared-prefix-200',
    text: '200 shared tokens, from a cold start: generated tok/s / llama-server',
    atLeast: 1.8,
    unit: 'x',
    measured: against('llama-server', 'shared-prefix-200', tokens),
  },
  {
    id: 'shared-prefix-cached',
    scenario: 'shared-prefix-200',
    text: '200 shared tokens, from a cold start: cached, of the ideal',
    atLeast: 0.95,
    unit: '%',
    measured: own('shared-prefix-200', 'cachedOfIdeal'),
  },
  {
    id: 'shared-prefix-ttft',
    scenario: 'shared-prefix-200',
    text: '200 shared tokens, from a cold start: TTFT p50 / llama-server',
    atMost: 0.5,
    unit: 'x',
    measured: against('llama-server', 'shared-prefix-200', 'ttftP50Ms'),
  },
  {
    id: 'multi-turn',
    scenario: 'multi-turn',
    text: 'Prompt tokens computed / ideal',
    atMost: 1.1,
    unit: 'x',
    measured: own('multi-turn', 'computedOfIdeal'),
  },
  {
    id: 'overload-goodput',
    scenario: 'overload',
    text: 'Goodput at 3x capacity / best goodput of the sweep',
    atLeast: 0.95,
    unit: '%',
    measured: ofPeakGoodput,
  },
  {
    id: 'overload-lost',
    scenario: 'overload',
    text: 'Requests that ended neither in success, nor in 429, nor at their own deadline',
    atMost: 0,
    unit: '',
    measured: own('overload', 'failedRequests'),
  },
  {
    id: 'batch-ttft',
    scenario: 'batch-under-interactive',
    text: 'Interactive TTFT p99, with / without bulk work',
    atMost: 1.15,
    unit: 'x',
    measured: own('batch-under-interactive', 'ttftP99Ratio'),
  },
  {
    id: 'batch-itl',
    scenario: 'batch-under-interactive',
    text: 'Interactive ITL p99, with / without bulk work',
    atMost: 1.15,
    unit: 'x',
    measured: own('batch-under-interactive', 'itlP99Ratio'),
  },
  {
    id: 'batch-share',
    scenario: 'batch-under-interactive',
    text: 'Bulk tok/s / what it makes alone in the time without interactive requests',
    atLeast: 0.9,
    unit: '%',
    measured: own('batch-under-interactive', 'batchOfWhatIsLeft'),
  },
];

/** The goals for which there is data. */
export function goalRows(results: BenchResults): GoalRow[] {
  return goals
    .map((goal) => {
      const value = goal.measured(results);
      const { atLeast = Number.NEGATIVE_INFINITY, atMost = Number.POSITIVE_INFINITY } = goal;
      return { ...goal, value, isMet: value.ratio >= atLeast && value.ratio <= atMost };
    })
    .filter(({ value }) => value.count > 0);
}

export function goalValue({ unit }: Goal, value: number): string {
  if (unit === '%') return `${formatNumber(100 * value, 1)}%`;
  return `${formatNumber(value, unit === 'x' ? 2 : 0)}${unit}`;
}

export function goalText(goal: Goal): string {
  if (goal.atLeast !== undefined) return `at least ${goalValue(goal, goal.atLeast)}`;
  return `at most ${goalValue(goal, goal.atMost ?? Number.NaN)}`;
}

export function goalInterval(row: GoalRow): string {
  const { lower, upper } = row.value;
  if (!Number.isFinite(upper)) return '–';
  return `${goalValue(row, lower)} – ${goalValue(row, upper)}`;
}

/** Plain lines for the terminal. */
export function renderGoals(results: BenchResults): string {
  return goalRows(results)
    .map((row) => {
      const value = `${goalValue(row, row.value.ratio)} [${goalInterval(row)}]`;
      return `${row.isMet ? 'met ' : 'MISS'}  ${row.text.padEnd(60)} ${value.padEnd(28)} ${goalText(row)}`;
    })
    .join('\n');
}
