import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import type { CallCost, NoiseSample } from '../../src/serving/call-cost.js';
import type { LengthDistribution } from '../load/lengths.js';
import { UsageError } from '../options.js';
import type { Question } from './plan-search.js';

export const help = `chairlift plan: how many slots and workers does this traffic need?

  chairlift plan --rate 4 --prompt-tokens lognormal:200:0.9 --output-tokens lognormal:120:0.8

  --rate N|LIST             requests per second; a list is a sweep (default: 1)
  --prompt-tokens LENGTHS   N, or lognormal:MEDIAN:SIGMA (200); --output-tokens LENGTHS (100)
  --shared-prefix-tokens N  first tokens that requests have in common (0), in --shared-prefix-share S of them (1),
                            --shared-prefix-families N kinds of prefix (1)
  --ttft-target-ms N        first token by then (2000); --itl-target-ms N no gap above (250)
  --attainment S            share of requests that has to meet both (0.95)
  --slots LIST              choices of slots per worker (4,8,16,32,64)
  --workers N               most workers (64)
  --context-tokens N        window of a slot (2048); --batch-tokens N per decode call (512)
  --seconds N               simulated (120); --seed TEXT
  --svg FILE                goodput against rate; --json FILE everything
  cost of a decode call, measured on this machine or typed in, say for a GPU:
  --cost-from FILE          as written by chairlift doctor --cost FILE; what is typed in as well goes before it
  --per-pass-ms N (6)  --per-token-ms N (0.8)  --per-sampled-row-ms N (0.5)  --per-context-token-ms N (0.0005)
  --per-short-row-attended-token-ms N (0) more in rows below 64 tokens  --per-tick-ms N (1)
  --noise N (0.05) sigma of a lognormal factor
`;

const text = (value: string) => ({ type: 'string', default: value }) as const;
const optional = { type: 'string' } as const;

const flags = {
  rate: text('1'),
  'prompt-tokens': text('200'),
  'output-tokens': text('100'),
  'shared-prefix-tokens': text('0'),
  'shared-prefix-share': text('1'),
  'shared-prefix-families': text('1'),
  'ttft-target-ms': text('2000'),
  'itl-target-ms': text('250'),
  attainment: text('0.95'),
  slots: text('4,8,16,32,64'),
  workers: text('64'),
  'context-tokens': text('2048'),
  'batch-tokens': text('512'),
  seconds: text('120'),
  seed: text('1'),
  svg: optional,
  json: optional,
  'per-pass-ms': optional,
  'per-token-ms': optional,
  'per-sampled-row-ms': optional,
  'per-context-token-ms': optional,
  'per-short-row-attended-token-ms': optional,
  'per-tick-ms': optional,
  noise: optional,
  'cost-from': optional,
  help: { type: 'boolean', short: 'h', default: false },
} as const;

/** A small model on a small machine; measure or type in your own. */
const exampleCost: CallCost = {
  perTickMs: 1,
  perPassMs: 6,
  perTokenMs: 0.8,
  perSampledRowMs: 0.5,
  perAttendedTokenMs: 0.0005,
  perShortRowAttendedTokenMs: 0,
  noiseSigma: 0.05,
};

type CostTerm = Exclude<keyof CallCost, 'noise'>;

const costFlags: readonly [flag: keyof typeof flags, name: CostTerm][] = [
  ['per-tick-ms', 'perTickMs'],
  ['per-pass-ms', 'perPassMs'],
  ['per-token-ms', 'perTokenMs'],
  ['per-sampled-row-ms', 'perSampledRowMs'],
  ['per-context-token-ms', 'perAttendedTokenMs'],
  ['per-short-row-attended-token-ms', 'perShortRowAttendedTokenMs'],
  ['noise', 'noiseSigma'],
];

export interface PlanOptions {
  question: Question;
  ratesPerSecond: number[];
  slotChoices: number[];
  mostWorkers: number;
  svgPath: string | undefined;
  jsonPath: string | undefined;
}

/** @returns null when only help is wanted. @throws UsageError that lists every mistake */
export function parsePlanOptions(argv: readonly string[]): PlanOptions | null {
  const values = parseFlags(argv);
  if (values.help) return null;
  const mistakes: string[] = [];
  const number = (name: keyof typeof flags, lowest: number, highest = Number.POSITIVE_INFINITY): number => {
    const value = Number(values[name]);
    if (!(value >= lowest && value <= highest))
      mistakes.push(`--${name} must be a number of at least ${lowest}, got "${values[name]}"`);
    return value;
  };
  const numbers = (name: keyof typeof flags, lowest: number, highest: number): number[] => {
    const list = String(values[name]).split(',').map(Number);
    if (list.some((value) => !(value >= lowest && value <= highest)))
      mistakes.push(`--${name} must be numbers from ${lowest} to ${highest}, got "${values[name]}"`);
    return list.sort((left, right) => left - right);
  };
  const lengths = (name: 'prompt-tokens' | 'output-tokens'): LengthDistribution => {
    const found = parseLengths(values[name], number('context-tokens', 16));
    if (!found) mistakes.push(`--${name} must be a number or lognormal:MEDIAN:SIGMA, got "${values[name]}"`);
    return found ?? { kind: 'fixed', tokens: 1 };
  };
  const cost = fileCost(values['cost-from'], mistakes);
  for (const [flag, name] of costFlags) if (values[flag] !== undefined) cost[name] = number(flag, 0);
  if (values.noise !== undefined) delete cost.noise;
  const itlMs = number('itl-target-ms', 1);
  const options: PlanOptions = {
    ratesPerSecond: numbers('rate', 0.001, 100_000),
    slotChoices: numbers('slots', 1, 256).map(Math.floor),
    mostWorkers: Math.floor(number('workers', 1, 10_000)),
    svgPath: values.svg,
    jsonPath: values.json,
    question: {
      promptTokens: lengths('prompt-tokens'),
      outputTokens: lengths('output-tokens'),
      sharedPrefix: {
        tokens: Math.floor(number('shared-prefix-tokens', 0)),
        share: number('shared-prefix-share', 0, 1),
        families: Math.floor(number('shared-prefix-families', 1)),
      },
      targets: { ttftMs: number('ttft-target-ms', 1), itlMs },
      attainment: number('attainment', 0, 1),
      seconds: number('seconds', 1),
      seed: values.seed,
      worker: {
        contextTokens: Math.floor(number('context-tokens', 16)),
        batchTokens: Math.floor(number('batch-tokens', 1)),
        itlTargetMs: itlMs,
        cost,
      },
    },
  };
  if (mistakes.length > 0) throw new UsageError(mistakes.join('\n'));
  return options;
}

function parseFlags(argv: readonly string[]) {
  try {
    return parseArgs({ args: [...argv], options: flags }).values;
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function parseLengths(description: string, contextTokens: number): LengthDistribution | null {
  const [kind, median, sigma] = description.split(':');
  if (kind === 'lognormal' && Number(median) >= 1 && Number(sigma) >= 0) {
    const mu = Math.log(Number(median));
    return { kind, mu, sigma: Number(sigma), scale: 1, lowestTokens: 1, highestTokens: contextTokens };
  }
  const tokens = Number(description);
  return Number.isInteger(tokens) && tokens >= 1 ? { kind: 'fixed', tokens } : null;
}

/** What `doctor --cost` writes, or an object with some of the terms. */
export function fileCost(path: string | undefined, mistakes: string[]): CallCost {
  const cost: CallCost = { ...exampleCost };
  if (path === undefined) return cost;
  try {
    const content = JSON.parse(readFileSync(path, 'utf8'));
    const source = content.cost ?? content;
    const known = costFlags.map(([, name]) => name).filter((name) => source[name] >= 0);
    for (const name of known) cost[name] = Number(source[name]);
    if (known.length === 0)
      mistakes.push(`--cost-from ${path} holds none of ${costFlags.map(([, name]) => name).join(', ')}`);
    if (Array.isArray(source.noise) && source.noise.every(isNoiseSample)) cost.noise = source.noise;
  } catch (error) {
    mistakes.push(`--cost-from ${path} cannot be read: ${(error as Error).message}`);
  }
  return cost;
}

function isNoiseSample(value: unknown): value is NoiseSample {
  const { expectedMs, factor } = (value ?? {}) as Partial<NoiseSample>;
  return typeof expectedMs === 'number' && typeof factor === 'number' && factor > 0;
}
