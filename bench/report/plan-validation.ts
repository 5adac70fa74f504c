import type { CallCost } from '../../src/serving/call-cost.js';
import type { PlanMetrics } from '../plan/plan-metrics.js';
import type { MachineInfo } from './machine.js';
import { formatNumber } from './metrics.js';

/** Predicted and measured, as it is kept in the results. */
export interface PlanValidation {
  model: string;
  machine: MachineInfo;
  slots: number;
  threads: number;
  seconds: number;
  itlTargetMs: number;
  cost: CallCost;
  comparisons: {
    workload: string;
    live: PlanMetrics;
    simulated: PlanMetrics;
    /** Of the live run: below 1 where tokens came without text. */
    chunksPerToken: number;
  }[];
}

const tolerance = 0.2;
const judged: readonly [name: keyof PlanMetrics, heading: string][] = [
  ['tokensPerSecond', 'Generated, tok/s'],
  ['itlP50Ms', 'ITL p50, ms'],
  ['itlP99Ms', 'ITL p99, ms'],
];
const shownOnly: readonly [name: keyof PlanMetrics, heading: string][] = [
  ['ttftP50Ms', 'TTFT p50, ms'],
  ['ttftP99Ms', 'TTFT p99, ms'],
];

/** Predicted beside measured. */
export function planValidationSection({
  model,
  slots,
  threads,
  seconds,
  itlTargetMs,
  comparisons,
}: PlanValidation): string[] {
  const rows = comparisons.flatMap(({ workload, live, simulated }) =>
    [...judged, ...shownOnly].map((entry) => {
      const [name, heading] = entry;
      const error = simulated[name] / live[name] - 1;
      const verdict = judged.includes(entry) ? (Math.abs(error) <= tolerance ? 'yes' : '**no**') : '';
      const cells = [simulated[name], live[name]].map((value) => formatNumber(value, 1));
      const percent = `${error > 0 ? '+' : ''}${(100 * error).toFixed(0)}%`;
      return `| ${[workload, heading, ...cells, percent, verdict].join(' | ')} |`;
    }),
  );
  return [
    '<a id="plan-validation"></a>',
    '',
    '## Does the capacity planner tell the truth?',
    '',
    `\`chairlift plan\` simulates the scheduler at the cost that \`chairlift doctor --cost\` measured; here beside \`chairlift serve\` over HTTP: ${model}, ${slots} slots, ${threads} thread${threads === 1 ? '' : 's'}, ITL target ${itlTargetMs} ms, ${seconds} s per workload.`,
    'Throughput and ITL should agree within 20%; TTFT is shown. Repeat with `npm run bench:plan-validation -- --model MODEL.gguf`.',
    '',
    '| Workload | Metric | Predicted | Measured | Error | Within 20% |',
    '|---|---|---:|---:|---:|---|',
    ...rows,
    '',
  ];
}
