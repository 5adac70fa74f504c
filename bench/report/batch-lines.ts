import type { MachineInfo } from './machine.js';
import { formatNumber } from './metrics.js';

/** How long one of the two took over the same lines. */
export interface BatchLinesRun {
  round: number;
  subject: 'chairlift batch' | 'llama-server';
  seconds: number;
  linesPerSecond: number;
  generatedTokens: number;
  failedLines: number;
}

/** As it is kept in the results. */
export interface BatchLines {
  model: string;
  machine: MachineInfo;
  measuredAt: string;
  lines: number;
  seed: string;
  slots: number;
  threads: number;
  clients: number;
  sharedWords: number;
  ownWords: number;
  outputTokens: number;
  commands: string[];
  runs: BatchLinesRun[];
}

const goalRatio = 1.5;

/** Mean over rounds of lines per second, chairlift over llama-server. */
export function batchLinesRatio({ runs }: BatchLines): number {
  return meanRate(runs, 'chairlift batch') / meanRate(runs, 'llama-server');
}

function meanRate(runs: readonly BatchLinesRun[], subject: BatchLinesRun['subject']): number {
  const rates = runs.filter((run) => run.subject === subject).map((run) => run.linesPerSecond);
  return rates.reduce((sum, rate) => sum + rate, 0) / rates.length;
}

export function batchLinesSection(results: BatchLines): string[] {
  const { model, lines, slots, threads, clients, sharedWords, ownWords, outputTokens, runs } = results;
  const ratio = batchLinesRatio(results);
  return [
    '<a id="batch-lines"></a>',
    '',
    '## A batch of lines with a shared system prompt',
    '',
    `\`chairlift batch\` with its own engine and defaults, and the same ${formatNumber(lines, 0)} requests sent by a loop of ${clients} clients to llama-server at its best flags with ${slots} slots: ${model}, ${threads} threads; ${sharedWords} common words, ${ownWords} of their own, ${outputTokens} tokens out. Loading the model is not counted on either side.`,
    'Repeat with `npm run bench:batch`.',
    '',
    '| Round | | Seconds | Lines/s | Generated, tok/s | Failed lines |',
    '|---:|---|---:|---:|---:|---:|',
    ...runs.map(({ round, subject, seconds, linesPerSecond, generatedTokens, failedLines }) => {
      const cells = [formatNumber(seconds, 1), formatNumber(linesPerSecond, 2)];
      const rate = formatNumber(generatedTokens / seconds, 0);
      return `| ${[round, subject, ...cells, rate, failedLines].join(' | ')} |`;
    }),
    '',
    `Lines per second: **${formatNumber(ratio, 2)}x** of llama-server (goal: ${goalRatio}x, ${ratio >= goalRatio ? 'reached' : '**not reached**'}).`,
    '',
  ];
}
