import type { Random } from './random.js';

/** How many tokens a request has: always the same, spread evenly around a mean, or lognormal within limits. */
export type LengthDistribution =
  | { kind: 'fixed'; tokens: number }
  | { kind: 'spread'; meanTokens: number; spreadFraction: number }
  | {
      kind: 'lognormal';
      mu: number;
      sigma: number;
      scale: number;
      lowestTokens: number;
      highestTokens: number;
    };

export function fixedLength(tokens: number): LengthDistribution {
  return { kind: 'fixed', tokens };
}

/** Uniform between mean*(1-fraction) and mean*(1+fraction): keeps clients from marching in step. */
export function spreadLength(meanTokens: number, spreadFraction = 0.25): LengthDistribution {
  return { kind: 'spread', meanTokens, spreadFraction };
}

/**
 * Lengths of real conversations (Splitwise, ISCA 2024: prompts mu 6.63 sigma 0.99, replies mu 5.02 sigma 0.86),
 * scaled so that the median becomes `medianTokens`.
 */
export function conversationLength(
  kind: 'prompt' | 'reply',
  medianTokens: number,
  highestTokens: number,
): LengthDistribution {
  const [mu, sigma] = kind === 'prompt' ? [6.63, 0.99] : [5.02, 0.86];
  return { kind: 'lognormal', mu, sigma, scale: medianTokens / Math.exp(mu), lowestTokens: 4, highestTokens };
}

/** One length in whole tokens, at least 1. */
export function drawLength(distribution: LengthDistribution, random: Random): number {
  switch (distribution.kind) {
    case 'fixed':
      return distribution.tokens;
    case 'spread': {
      const { meanTokens, spreadFraction } = distribution;
      const reach = Math.round(meanTokens * spreadFraction);
      return Math.max(1, random.integer(meanTokens - reach, meanTokens + reach));
    }
    case 'lognormal': {
      const drawn = Math.round(random.lognormal(distribution.mu, distribution.sigma) * distribution.scale);
      return Math.min(Math.max(drawn, distribution.lowestTokens, 1), distribution.highestTokens);
    }
  }
}
