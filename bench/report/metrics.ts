/** Names, units and directions of all metrics, for tables and comparisons. */

export interface MetricInfo {
  label: string;
  unit: string;
  better: 'higher' | 'lower' | 'neither';
  /** Decimals in a table. */
  digits: number;
  /** Multiplies before printing: 100 for shares. */
  factor: number;
}

type Better = MetricInfo['better'];

function metric(label: string, unit: string, better: Better, digits: number, factor = 1): MetricInfo {
  return { label, unit, better, digits, factor };
}

const catalogue: Record<string, MetricInfo> = {
  generatedTokensPerSecond: metric('Generated', 'tok/s', 'higher', 1),
  completedRequestsPerSecond: metric('Completed', 'req/s', 'higher', 2),
  goodputRequestsPerSecond: metric('Goodput', 'req/s', 'higher', 2),
  goodFraction: metric('Good', '%', 'higher', 1, 100),
  goodputOfCapacity: metric('Goodput of capacity', '%', 'higher', 0, 100),
  bestGoodputRequestsPerSecond: metric('Best goodput', 'req/s', 'higher', 2),
  kneeRequestsPerSecond: metric('Knee', 'req/s', 'higher', 2),
  kneeTtftP99Ms: metric('TTFT p99 at knee', 'ms', 'lower', 0),
  kneeItlP99Ms: metric('ITL p99 at knee', 'ms', 'lower', 0),
  ttftP50Ms: metric('TTFT p50', 'ms', 'lower', 0),
  ttftP99Ms: metric('TTFT p99', 'ms', 'lower', 0),
  itlP50Ms: metric('ITL p50', 'ms', 'lower', 1),
  itlP99Ms: metric('ITL p99', 'ms', 'lower', 0),
  itlMaxMs: metric('ITL max', 'ms', 'lower', 0),
  tpotP50Ms: metric('TPOT p50', 'ms', 'lower', 1),
  tpotP99Ms: metric('TPOT p99', 'ms', 'lower', 1),
  endToEndP50Ms: metric('E2E p50', 'ms', 'lower', 0),
  endToEndP99Ms: metric('E2E p99', 'ms', 'lower', 0),
  totalSeconds: metric('All work done after', 's', 'lower', 1),
  steadyTotalSeconds: metric('Steady streams done after', 's', 'lower', 1),
  longTtftP50Ms: metric('Long prompt TTFT p50', 'ms', 'lower', 0),
  longTtftP99Ms: metric('Long prompt TTFT p99', 'ms', 'lower', 0),
  cachedTokenFraction: metric('Prompt tokens cached', '%', 'higher', 1, 100),
  cachedOfIdeal: metric('Cached, of the ideal', '%', 'higher', 1, 100),
  computedOfIdeal: metric('Prompt tokens computed / ideal', 'x', 'lower', 2),
  sparseOfDense: metric('Of 8 neighbours alone', '%', 'higher', 0, 100),
  laterTurnTtftP50Ms: metric('Later-turn TTFT p50', 'ms', 'lower', 0),
  laterTurnTtftP99Ms: metric('Later-turn TTFT p99', 'ms', 'lower', 0),
  usefulTokensPerSecond: metric('Useful', 'tok/s', 'higher', 1),
  recoveryMs: metric('First token after all left', 'ms', 'lower', 0),
  interactiveTtftP50Ms: metric('Interactive TTFT p50', 'ms', 'lower', 0),
  interactiveTtftP99Ms: metric('Interactive TTFT p99', 'ms', 'lower', 0),
  interactiveItlP99Ms: metric('Interactive ITL p99', 'ms', 'lower', 0),
  ttftP99Ratio: metric('TTFT p99, with/without bulk', 'x', 'lower', 2),
  itlP99Ratio: metric('ITL p99, with/without bulk', 'x', 'lower', 2),
  batchTokensPerSecond: metric('Bulk', 'tok/s', 'higher', 1),
  batchOfWhatIsLeft: metric('Bulk, of the time that is left', '%', 'higher', 0, 100),
  batchOfSpareTokens: metric('Bulk, of the tokens to spare', '%', 'higher', 0, 100),
  rejectedRequests: metric('Rejected', '', 'neither', 0),
  failedRequests: metric('Failed', '', 'lower', 0),
  expiredRequests: metric('Gave up at 10 s', '', 'neither', 0),
  unfinishedRequests: metric('Unfinished', '', 'lower', 0),
  shortOutputs: metric('Short replies', '', 'neither', 0),
  sendLagP99Ms: metric('Send lag p99', 'ms', 'lower', 1),
  meanPromptTokens: metric('Prompt mean', 'tok', 'neither', 1),
  meanOutputTokens: metric('Reply mean', 'tok', 'neither', 1),
};

export function metricInfo(key: string): MetricInfo {
  const known = catalogue[key];
  if (known) return known;
  const clients = /^tokensPerSecondAt(\d+)$/.exec(key)?.[1];
  if (clients) return metric(`${clients} client${clients === '1' ? '' : 's'}`, 'tok/s', 'higher', 1);
  return metric(key, '', 'neither', 2);
}

export function metricHeading(key: string): string {
  const { label, unit } = metricInfo(key);
  return unit ? `${label}, ${unit}` : label;
}

export function formatMetric(key: string, value: number): string {
  const { digits, factor } = metricInfo(key);
  return formatNumber(value * factor, digits);
}

/** Thousands get a thin grouping; what is not there is a dash. */
export function formatNumber(value: number, digits: number): string {
  if (!Number.isFinite(value)) return '–';
  const rounded = Math.abs(value) >= 1000 ? 0 : digits;
  return value.toLocaleString('en-US', { minimumFractionDigits: rounded, maximumFractionDigits: rounded });
}
