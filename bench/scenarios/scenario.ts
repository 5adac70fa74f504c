import { runClosedLoop, type Send } from '../load/drivers.js';
import {
  conversationLength,
  drawLength,
  fixedLength,
  type LengthDistribution,
  spreadLength,
} from '../load/lengths.js';
import { buildPrompt } from '../load/prompts.js';
import type { Random } from '../load/random.js';
import type { RequestSpec } from '../load/records.js';
import type { QuantilePoint } from '../load/statistics.js';
import { type Metrics, summarize, type Targets } from '../load/summary.js';
import type { Target } from '../load/target.js';

export type LengthKind = 'fixed' | 'spread' | 'lognormal';

/** What a person may turn; every scenario reads what it needs. */
export interface LoadOptions {
  clients: number;
  /** Length of the measured part of one run. */
  seconds: number;
  warmupSeconds: number;
  promptTokens: number;
  outputTokens: number;
  lengths: LengthKind;
  targets: Targets;
  /** Tokens one request may use, prompt and reply together. */
  contextTokens: number;
  /** Requests per second the target completes in a closed loop; measured when absent. */
  capacityRequestsPerSecond?: number;
}

export interface ScenarioContext {
  target: Target;
  options: LoadOptions;
  random: Random;
  send: Send;
  signal: AbortSignal;
  /** A phase name for the progress line. */
  phase: (name: string) => void;
}

export interface Point {
  x: number;
  y: number;
}

/** One run of one scenario with one seed. */
export interface ScenarioRun {
  metrics: Metrics;
  /** Compact distributions for plots. */
  curves?: Record<string, QuantilePoint[]>;
  /** Sweeps for plots: concurrency or rate on x. */
  points?: Record<string, Point[]>;
}

export interface Scenario {
  name: string;
  title: string;
  /** What a reader learns from it, in one sentence. */
  question: string;
  /** Window a slot must have for the default options. */
  contextTokens: number;
  /** Window and warm-up of the official table, where `--seconds` is 12; other values scale them. */
  official: Pick<LoadOptions, 'seconds' | 'warmupSeconds'>;
  /** About how long one run takes with these options, everything included. */
  expectedSeconds: (options: Pick<LoadOptions, 'seconds' | 'warmupSeconds'>) => number;
  /** Metric keys for the tables, most telling first. */
  headline: readonly string[];
  run: (context: ScenarioContext) => Promise<ScenarioRun>;
}

export function promptLength(options: LoadOptions): LengthDistribution {
  return lengthAround(options, 'prompt', options.promptTokens);
}

export function outputLength(options: LoadOptions): LengthDistribution {
  return lengthAround(options, 'reply', options.outputTokens);
}

function lengthAround(options: LoadOptions, kind: 'prompt' | 'reply', tokens: number): LengthDistribution {
  if (options.lengths === 'fixed') return fixedLength(tokens);
  if (options.lengths === 'spread') return spreadLength(tokens);
  return conversationLength(kind, tokens, Math.floor(options.contextTokens / 2) - 8);
}

/**
 * Draws requests with prompts that share nothing but the opening word.
 * @param lengthsLabel the same one gives the same lengths to requests with different words
 */
export function distinctRequests(
  context: ScenarioContext,
  label: string,
  lengthsLabel = label,
): () => RequestSpec {
  const words = context.random.fork(label);
  const lengths = context.random.fork(`${lengthsLabel} lengths`);
  const prompts = promptLength(context.options);
  const outputs = outputLength(context.options);
  return () => {
    const promptTokens = drawLength(prompts, lengths);
    return {
      prompt: buildPrompt(promptTokens, context.target.calibration, words),
      promptTokens,
      outputTokens: drawLength(outputs, lengths),
    };
  };
}

/** Durations of a driver in ms. */
export function timing(
  context: ScenarioContext,
  overrides: { seconds?: number; drainSeconds?: number } = {},
) {
  const { seconds = context.options.seconds, drainSeconds = 12 } = overrides;
  return {
    warmupMs: context.options.warmupSeconds * 1000,
    measureMs: seconds * 1000,
    drainMs: drainSeconds * 1000,
    signal: context.signal,
    send: context.send,
  };
}

/** Requests per second of a short closed loop, unless it is known already. */
export async function capacityOf(context: ScenarioContext): Promise<number> {
  if (context.options.capacityRequestsPerSecond) return context.options.capacityRequestsPerSecond;
  context.phase('finding the capacity');
  const draw = distinctRequests(context, 'capacity');
  const seconds = Math.max(4, context.options.seconds / 2);
  const result = await runClosedLoop({
    ...timing(context, { seconds }),
    clients: context.options.clients,
    nextRequest: draw,
  });
  const { generatedTokensPerSecond = 0, meanOutputTokens = 1 } = summarize(result, context.options.targets);
  // By tokens rather than by completions: a short window ends few requests.
  return Math.max(generatedTokensPerSecond / meanOutputTokens, 0.1);
}
