import type { ParseArgsConfig } from 'node:util';
import type { LengthKind, LoadOptions } from './scenarios/scenario.js';

/** The command line was wrong; the message names every mistake, one per line. */
export class UsageError extends Error {
  override name = 'UsageError';
}

/** Flags that shape the load; shared by `chairlift bench` and `bench:peers`. */
export const loadFlags = {
  clients: { type: 'string', default: '32' },
  seconds: { type: 'string', default: '12' },
  'warmup-seconds': { type: 'string', default: '3' },
  'prompt-tokens': { type: 'string', default: '64' },
  'output-tokens': { type: 'string', default: '48' },
  lengths: { type: 'string', default: 'spread' },
  'ttft-target-ms': { type: 'string', default: '2000' },
  'itl-target-ms': { type: 'string', default: '250' },
  'context-tokens': { type: 'string', default: '1024' },
  'capacity-rps': { type: 'string' },
} as const satisfies ParseArgsConfig['options'];

type LoadValues = { [Name in keyof typeof loadFlags]?: string | undefined };

const lengthKinds: readonly LengthKind[] = ['fixed', 'spread', 'lognormal'];

/** @throws UsageError that lists all wrong values at once */
export function parseLoadOptions(values: LoadValues): LoadOptions {
  const mistakes: string[] = [];
  const number = (name: keyof LoadValues, lowest: number): number => {
    const value = Number(values[name]);
    if (!Number.isFinite(value) || value < lowest) {
      mistakes.push(`--${name} must be a number of at least ${lowest}, got "${values[name]}".`);
    }
    return value;
  };
  const lengths = lengthKinds.find((kind) => kind === values.lengths);
  if (!lengths) mistakes.push(`--lengths must be one of ${lengthKinds.join(', ')}, got "${values.lengths}".`);
  const options: LoadOptions = {
    clients: Math.floor(number('clients', 1)),
    seconds: number('seconds', 1),
    warmupSeconds: number('warmup-seconds', 0),
    promptTokens: Math.floor(number('prompt-tokens', 4)),
    outputTokens: Math.floor(number('output-tokens', 2)),
    lengths: lengths ?? 'spread',
    targets: { ttftMs: number('ttft-target-ms', 1), itlMs: number('itl-target-ms', 1) },
    contextTokens: Math.floor(number('context-tokens', 128)),
    ...(values['capacity-rps'] === undefined
      ? {}
      : { capacityRequestsPerSecond: number('capacity-rps', 0.01) }),
  };
  if (mistakes.length > 0) throw new UsageError(mistakes.join('\n'));
  return options;
}

/** `3` means seeds 1, 2 and 3; `4,7` means those two. */
export function parseSeeds(text: string): number[] {
  const parts = text.split(',').map(Number);
  if (parts.some((part) => !Number.isInteger(part) || part < 1)) {
    throw new UsageError(`--seeds must be a count such as 3 or a list such as 1,2,3; got "${text}".`);
  }
  return parts.length === 1 ? Array.from({ length: parts[0] as number }, (_, index) => index + 1) : parts;
}

export function splitList(text: string): string[] {
  return text
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean);
}
