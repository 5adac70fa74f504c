import type { PriorityClass, TtftTargets } from '../../scheduler/index.js';
import type { NativeChoice } from '../models/native-build.js';

/** Everything `chairlift serve` can be told, parsed and validated. */
export interface ServeConfig {
  /** A path, an `hf:user/repo:quant` URI, or null for the default model. */
  model: string | null;
  engine: 'llama' | 'simulated';
  /** Which llama.cpp computes. */
  native: NativeChoice;
  host: string;
  port: number;
  /** null: chosen from the machine's memory (at most 32). */
  slots: number | null;
  /** Tokens per slot; null: the model's training length, at most 2048. */
  contextTokens: number | null;
  /** Most tokens in one native decode call. */
  batchTokens: number;
  /** Most compute threads; null: the cores of the machine. */
  threads: number | null;
  /**
   * Milliseconds between two tokens that prefill of others must not push a request over; 0: throughput first;
   * null: chosen.
   */
  itlTargetMs: number | null;
  /** Milliseconds to a request's first token after which its prompt gets a larger share, by class. */
  ttftTargetsMs: TtftTargets;
  /** Longest estimated wait for a slot, in milliseconds, with which a request is taken, by class; 0: any. */
  maxWaitMs: Readonly<Record<PriorityClass, number>>;
  /** Time decode calls for a second or two at the first start with a model. */
  calibrate: boolean;
  /** Most sequences that wait for a slot. */
  maxWaiting: number;
  /** Most prompt tokens that wait for a slot. */
  maxWaitingTokens: number;
  /** Accepted API keys; empty: no authentication. */
  apiKeys: readonly string[];
  /** Serve a public address without an API key. */
  allowUnauthenticated: boolean;
  /** Where slots are saved; null: in shared memory, where there is any. */
  snapshotDirectory: string | null;
  /** Most bytes of saved slots, 0 for none; null: a safe share of what is free. */
  snapshotBytes: number | null;
  /** all: takes requests and computes them; gateway: hands them on through Redis; worker: only computes. */
  role: 'all' | 'gateway' | 'worker';
  redisUrl: string | null;
  /** In front of every name in Redis; processes that work together share it. */
  redisPrefix: string;
  /** Most requests that wait beyond the line, in Redis or in memory. */
  maxOverflow: number;
  /** Bull Board at /admin/queues, for whoever has an API key. */
  queueDashboard: boolean;
  /** Milliseconds for which a stream can be read again after its last event. */
  streamRetentionMs: number;
  /** Milliseconds after which others take over the requests of a silent worker. */
  redisLockMs: number;
  logLevel: LogLevel;
  offline: boolean;
  modelCacheDirectory: string;
  /** Milliseconds that running requests get to finish after SIGTERM. */
  shutdownMs: number;
  /** Milliseconds a request may wait for a slot before it is dropped. */
  queueTimeoutMs: number;
  /** Milliseconds one whole request may take. */
  requestTimeoutMs: number;
  maxBodyBytes: number;
  /** Where files and batch jobs are kept. */
  dataDirectory: string;
  /** Most bytes of all kept files. */
  maxDataBytes: number;
  /** Largest input file of a batch job. */
  maxBatchFileBytes: number;
  /** Most lines of a batch job. */
  maxBatchLines: number;
  /** Most lines of batch jobs that this process has under way; null: twice as many as there are slots. */
  batchLinesInFlight: number | null;
}

export const logLevels = ['fatal', 'error', 'warn', 'info', 'debug', 'trace', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

/** Who can wait five times the target is still better served late than told to come again. */
const waitFactor = 5;

export function defaultMaxWaitMs(ttftTargetsMs: TtftTargets): ServeConfig['maxWaitMs'] {
  const { interactive, standard, batch } = ttftTargetsMs;
  return {
    interactive: waitFactor * interactive,
    standard: waitFactor * standard,
    batch: waitFactor * batch,
  };
}
