import type { Ratio } from './load/statistics.js';

/** One ratio, then and now; oriented so that above 1 is better for chairlift. */
export interface RatioChange {
  scenario: string;
  metric: string;
  before: Ratio;
  now: Ratio;
}

export type Verdict = 'worse' | 'better' | 'same' | 'new';

/** Without an interval of its own a ratio is trusted this far. */
const assumedNoise = Math.log(1.1);
/** Smaller changes are not worth a line, however sure they are. */
const smallestChange = Math.log(1.05);

/** A change counts when it is larger than both intervals together (added as independent errors) and than 5%. */
export function judge({ before, now }: Pick<RatioChange, 'before' | 'now'>): Verdict {
  if (before.count === 0 || now.count === 0) return 'new';
  const change = Math.log(now.ratio / before.ratio);
  const noise = Math.hypot(logHalfWidth(before), logHalfWidth(now));
  if (Math.abs(change) <= Math.max(noise, smallestChange)) return 'same';
  return change > 0 ? 'better' : 'worse';
}

function logHalfWidth({ ratio, upper }: Ratio): number {
  const halfWidth = Math.log(upper / ratio);
  return Number.isFinite(halfWidth) ? halfWidth : assumedNoise;
}
