import type { DriverResult, MeasureWindow } from './drivers.js';
import {
  generatedTokens,
  interTokenGapsMs,
  type RequestRecord,
  timePerOutputTokenMs,
  timeToFirstTokenMs,
} from './records.js';
import { mean, percentile, sorted, sum } from './statistics.js';

/** A request is good when it ended well, its first token came in time and so did every later one. */
export interface Targets {
  ttftMs: number;
  itlMs: number;
}

/** Flat numbers by metric key; see report/metrics.ts for labels and units. */
export type Metrics = Record<string, number>;

export function isGood(record: RequestRecord, targets: Targets): boolean {
  const firstTokenMs = timeToFirstTokenMs(record);
  if (record.outcome !== 'ok' || firstTokenMs === undefined || firstTokenMs > targets.ttftMs) return false;
  return interTokenGapsMs(record).every((gapMs) => gapMs <= targets.itlMs);
}

/** Requests that arrived inside the window. */
export function recordsOf(result: DriverResult): RequestRecord[] {
  const { startMs, endMs } = result.window;
  return result.records.filter(({ scheduledAtMs }) => scheduledAtMs >= startMs && scheduledAtMs < endMs);
}

/**
 * Requests whose latency and usage count. An open loop: those that arrived inside the window, however late their first
 * token. A closed loop: those whose first token fell into the window, or a server that takes longer than a window for
 * one reply would show nothing; its slow ones are waited for by their own clients, so none are left out for good.
 */
export function servedIn(result: DriverResult): RequestRecord[] {
  if (result.loop === 'open') return recordsOf(result);
  const { startMs, endMs } = result.window;
  return result.records.filter(
    ({ chunkAtMs: [first] }) => first !== undefined && first >= startMs && first < endMs,
  );
}

/**
 * Tokens that arrived inside the window, of all requests, also those that began before it.
 * A chunk weighs (tokens by usage / chunks) of its request; requests cut early weigh what the others weigh.
 */
export function tokensInWindow(records: readonly RequestRecord[], window: MeasureWindow): number {
  const complete = records.filter(
    (record) => record.outputTokens !== undefined && record.chunkAtMs.length > 0,
  );
  const chunks = sum(complete.map((record) => record.chunkAtMs.length));
  const usual = chunks === 0 ? 1 : sum(complete.map(generatedTokens)) / chunks;
  return sum(
    records.map((record) => {
      const inside = record.chunkAtMs.filter((atMs) => atMs >= window.startMs && atMs < window.endMs).length;
      if (inside === 0) return 0;
      const weight =
        record.outputTokens === undefined ? usual : record.outputTokens / record.chunkAtMs.length;
      return inside * weight;
    }),
  );
}

/** Everything that can be said of one driver run. */
export function summarize(result: DriverResult, targets: Targets): Metrics {
  const seconds = (result.window.endMs - result.window.startMs) / 1000;
  const records = recordsOf(result);
  const finished = result.records.filter(
    ({ outcome, finishedAtMs }) =>
      outcome === 'ok' && finishedAtMs >= result.window.startMs && finishedAtMs < result.window.endMs,
  );
  return {
    generatedTokensPerSecond: tokensInWindow(result.records, result.window) / seconds,
    completedRequestsPerSecond: finished.length / seconds,
    ...goodput(records, targets, seconds),
    ...latencies(servedIn(result), gapsInWindow(result)),
    ...usageFigures(servedIn(result)),
    ...(result.sendLagMs.length > 0 ? { sendLagP99Ms: percentile(sorted(result.sendLagMs), 0.99) } : {}),
  };
}

/** Of work that was cut, only what came out until then is known: those who still wait would have been the slow ones. */
export function summarizeFixedWork(result: DriverResult, targets: Targets): Metrics {
  const metrics = summarize(result, targets);
  if (metrics.unfinishedRequests === 0) return metrics;
  const isKnown = (key: string): boolean => /PerSecond$|Requests$|^itl/.test(key);
  return Object.fromEntries(Object.entries(metrics).filter(([key]) => isKnown(key)));
}

function goodput(records: readonly RequestRecord[], targets: Targets, seconds: number): Metrics {
  const count = (outcome: RequestRecord['outcome']): number =>
    records.filter((record) => record.outcome === outcome).length;
  const good = records.filter((record) => isGood(record, targets)).length;
  // Requests this client itself hung up on can be neither good nor bad.
  const judged = records.length - count('aborted');
  return {
    requests: records.length,
    goodputRequestsPerSecond: good / seconds,
    goodFraction: judged === 0 ? Number.NaN : good / judged,
    rejectedRequests: count('rejected'),
    failedRequests: count('failed'),
    unfinishedRequests: count('unfinished'),
  };
}

/**
 * Gaps that ended inside the window, of all streams, also those that began before it; gaps after the window, when the
 * load is already going down, do not count.
 */
export function gapsInWindow(result: DriverResult, tag?: string): number[] {
  const { startMs, endMs } = result.window;
  return result.records
    .filter((record) => tag === undefined || record.tag === tag)
    .flatMap((record) =>
      interTokenGapsMs(record).filter((_, index) => {
        const endedAtMs = record.chunkAtMs[index + 1] as number;
        return endedAtMs >= startMs && endedAtMs < endMs;
      }),
    );
}

export function latencies(
  records: readonly RequestRecord[],
  gapsMs: readonly number[] = records.flatMap(interTokenGapsMs),
): Metrics {
  const ttftMs = sorted(records.map(timeToFirstTokenMs).filter(isNumber));
  const itlMs = sorted(gapsMs);
  const ok = records.filter(({ outcome }) => outcome === 'ok');
  const tpotMs = sorted(ok.map(timePerOutputTokenMs).filter(isNumber));
  const endToEndMs = sorted(ok.map((record) => record.finishedAtMs - record.scheduledAtMs));
  return {
    ttftP50Ms: percentile(ttftMs, 0.5),
    ttftP99Ms: percentile(ttftMs, 0.99),
    itlP50Ms: percentile(itlMs, 0.5),
    itlP99Ms: percentile(itlMs, 0.99),
    itlMaxMs: percentile(itlMs, 1),
    tpotP50Ms: percentile(tpotMs, 0.5),
    tpotP99Ms: percentile(tpotMs, 0.99),
    endToEndP50Ms: percentile(endToEndMs, 0.5),
    endToEndP99Ms: percentile(endToEndMs, 0.99),
  };
}

function usageFigures(records: readonly RequestRecord[]): Metrics {
  const ok = records.filter(({ outcome }) => outcome === 'ok');
  const counted = ok.filter(({ promptTokens }) => promptTokens !== undefined);
  const promptTokens = sum(counted.map((record) => record.promptTokens as number));
  const reportsCache = counted.some(({ cachedTokens }) => cachedTokens !== undefined);
  return {
    meanPromptTokens: promptTokens / counted.length,
    meanOutputTokens: mean(ok.map(generatedTokens)),
    shortOutputs: ok.filter((record) => generatedTokens(record) < record.requestedOutputTokens).length,
    ...(reportsCache
      ? { cachedTokenFraction: sum(counted.map((record) => record.cachedTokens ?? 0)) / promptTokens }
      : {}),
    ...(reportsCache ? againstPerfectCache(counted) : {}),
  };
}

/** What came from cache, and what was computed, against a cache that never forgets and shares with everyone. */
function againstPerfectCache(counted: readonly RequestRecord[]): Metrics {
  const known = counted.filter(({ reusableTokens }) => reusableTokens !== undefined);
  if (known.length === 0) return {};
  const prompt = sum(known.map((record) => record.promptTokens as number));
  const cached = sum(known.map((record) => record.cachedTokens ?? 0));
  const reusable = sum(known.map((record) => record.reusableTokens as number));
  return { cachedOfIdeal: cached / reusable, computedOfIdeal: (prompt - cached) / (prompt - reusable) };
}

export function isNumber(value: number | undefined): value is number {
  return value !== undefined;
}
