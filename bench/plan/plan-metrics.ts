import { percentile, sorted } from '../load/statistics.js';
import type { RequestOutcome } from './fleet.js';

export interface Targets {
  ttftMs: number;
  itlMs: number;
}

export interface PlanMetrics {
  requests: number;
  /** Requests per second that met both targets. */
  goodputPerSecond: number;
  goodFraction: number;
  tokensPerSecond: number;
  ttftP50Ms: number;
  ttftP99Ms: number;
  itlP50Ms: number;
  itlP99Ms: number;
}

/** As the bench judges: the first token in time, and no gap above the target. */
export function isGood({ arrivalMs, tokenTimesMs }: RequestOutcome, targets: Targets): boolean {
  if (!tokenTimesMs || tokenTimesMs.length === 0) return false;
  if (tokenTimesMs[0]! - arrivalMs > targets.ttftMs) return false;
  return tokenTimesMs.every((atMs, index) => index === 0 || atMs - tokenTimesMs[index - 1]! <= targets.itlMs);
}

/** @param window requests that arrived, tokens and gaps that came inside it count */
export function planMetrics(
  outcomes: readonly RequestOutcome[],
  targets: Targets,
  window: { startMs: number; endMs: number },
): PlanMetrics {
  const isInside = (atMs: number) => atMs >= window.startMs && atMs < window.endMs;
  const seconds = (window.endMs - window.startMs) / 1000;
  const judged = outcomes.filter(({ arrivalMs }) => isInside(arrivalMs));
  const good = judged.filter((outcome) => isGood(outcome, targets)).length;
  const gapsMs: number[] = [];
  let tokens = 0;
  for (const { tokenTimesMs } of outcomes) {
    tokenTimesMs?.forEach((atMs, index) => {
      if (!isInside(atMs)) return;
      tokens += 1;
      if (index > 0) gapsMs.push(atMs - tokenTimesMs[index - 1]!);
    });
  }
  const itlMs = sorted(gapsMs);
  const ttftMs = sorted(
    judged.flatMap(({ tokenTimesMs, arrivalMs }) =>
      tokenTimesMs?.[0] === undefined ? [] : [tokenTimesMs[0] - arrivalMs],
    ),
  );
  return {
    requests: judged.length,
    goodputPerSecond: good / seconds,
    goodFraction: judged.length === 0 ? 1 : good / judged.length,
    tokensPerSecond: tokens / seconds,
    ttftP50Ms: percentile(ttftMs, 0.5),
    ttftP99Ms: percentile(ttftMs, 0.99),
    itlP50Ms: percentile(itlMs, 0.5),
    itlP99Ms: percentile(itlMs, 0.99),
  };
}
