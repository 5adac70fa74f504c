import { setMaxListeners } from 'node:events';
import { TargetError } from '../load/endpoint.js';
import { LoadMeter } from '../load/load-meter.js';
import { Random } from '../load/random.js';
import type { RequestRecord } from '../load/records.js';
import { sendStreaming } from '../load/stream-client.js';
import type { Target } from '../load/target.js';
import type { RunResult } from '../report/results.js';
import type { LoadOptions, Scenario } from './scenario.js';

/** Live counters of a run, for the progress line. */
export interface ProgressState {
  phase: string;
  inFlight: number;
  finished: number;
  tokens: number;
  rejected: number;
  failed: number;
}

export interface RunOptions {
  subject: string;
  scenario: Scenario;
  target: Target;
  options: LoadOptions;
  seed: number;
  signal: AbortSignal;
  serverPid?: number;
  onStart?: (progress: ProgressState) => void;
}

const requestTimeoutMs = 180_000;
const lostAfterFailures = 8;

/**
 * Runs one scenario once. A server that dies ends the run early; the numbers until then are returned with the reason.
 * @throws TargetError when not a single request gave anything to report
 */
export async function runScenario(options: RunOptions): Promise<RunResult> {
  const { scenario, target, seed } = options;
  const progress: ProgressState = { phase: '', inFlight: 0, finished: 0, tokens: 0, rejected: 0, failed: 0 };
  const stop = new AbortController();
  const signal = AbortSignal.any([options.signal, stop.signal]);
  setMaxListeners(0, signal, options.signal);
  const loss = new LossDetector(target, stop);
  options.onStart?.(progress);
  const meter = new LoadMeter(options.serverPid);
  const startedAt = new Date().toISOString();
  const startedAtMs = performance.now();
  const run = await scenario.run({
    target,
    options: options.options,
    random: new Random(`${scenario.name} ${seed}`),
    signal,
    phase: (name) => {
      progress.phase = name;
    },
    send: async (spec, { cut, scheduledAtMs, onToken }) => {
      progress.inFlight += 1;
      const record = await sendStreaming(spec, {
        endpoint: target.endpoint,
        shape: target.shape,
        cut,
        timeoutMs: requestTimeoutMs,
        onToken: () => {
          progress.tokens += 1;
          onToken?.();
        },
        ...(scheduledAtMs === undefined ? {} : { scheduledAtMs }),
      });
      countRecord(progress, record);
      loss.watch(record);
      return record;
    },
  });
  const incomplete = loss.reason ?? (options.signal.aborted ? 'stopped by hand' : undefined);
  if (loss.reason && progress.tokens === 0) throw new TargetError(loss.reason);
  return {
    subject: options.subject,
    scenario: scenario.name,
    seed,
    startedAt,
    seconds: options.options.seconds,
    warmupSeconds: options.options.warmupSeconds,
    elapsedSeconds: (performance.now() - startedAtMs) / 1000,
    ...run,
    generator: meter.stop(),
    ...(incomplete === undefined ? {} : { incomplete }),
  };
}

function countRecord(progress: ProgressState, record: RequestRecord): void {
  progress.inFlight -= 1;
  progress.finished += record.outcome === 'ok' ? 1 : 0;
  progress.rejected += record.outcome === 'rejected' ? 1 : 0;
  progress.failed += record.outcome === 'failed' ? 1 : 0;
}

/** Many failures in a row without one success: the server is gone, or nothing works; no point in going on. */
class LossDetector {
  reason: string | undefined;
  private failuresInRow = 0;
  private readonly target: Target;
  private readonly stop: AbortController;
  private readonly startedAtMs = performance.now();

  constructor(target: Target, stop: AbortController) {
    this.target = target;
    this.stop = stop;
  }

  watch(record: RequestRecord): void {
    if (record.outcome === 'ok') this.failuresInRow = 0;
    if (record.outcome !== 'failed' || this.reason !== undefined) return;
    this.failuresInRow += 1;
    const refused = record.failureKind === 'connection' && /ECONNREFUSED/.test(record.error ?? '');
    if (!refused && this.failuresInRow < lostAfterFailures) return;
    const seconds = ((performance.now() - this.startedAtMs) / 1000).toFixed(1);
    this.reason = refused
      ? `The server at ${this.target.endpoint.baseUrl} went away ${seconds} s into the run (connection refused).`
      : `The server at ${this.target.endpoint.baseUrl} failed ${this.failuresInRow} requests in a row, ${seconds} s into the run: ${record.error}.`;
    this.stop.abort();
  }
}
