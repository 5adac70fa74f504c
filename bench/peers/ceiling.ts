import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { type PeerBinaries, PeerError } from './prepare.js';
import type { ServerProfile } from './specs.js';

export interface Ceiling {
  command: string;
  generatedTokensPerSecond: number;
}

/**
 * What the arithmetic alone allows: llama-batched-bench, all sequences in step, no server, no sampling of text.
 * Generated tokens over the whole time, prompt included, so that it compares with a closed loop.
 */
export function measureCeiling(
  profile: ServerProfile,
  binaries: PeerBinaries,
  tokens: { prompt: number; output: number },
): Ceiling {
  const { modelPath, slots, contextTokens, threads } = profile;
  const args = [
    ...[
      '-m',
      modelPath,
      '-c',
      `${slots * contextTokens}`,
      '-b',
      '512',
      '-ub',
      '512',
      '-fa',
      'on',
      '-t',
      `${threads}`,
    ],
    ...[
      '-npp',
      `${tokens.prompt}`,
      '-ntg',
      `${tokens.output}`,
      '-npl',
      `${slots}`,
      '--output-format',
      'jsonl',
    ],
  ];
  const { stdout, stderr, status, signal } = spawnSync(join(binaries.folder, 'llama-batched-bench'), args, {
    encoding: 'utf8',
    env: { ...process.env, LD_LIBRARY_PATH: binaries.folder },
    timeout: 180_000,
  });
  const row = stdout.split('\n').find((line) => line.startsWith('{'));
  if (!row)
    throw new PeerError(`llama-batched-bench gave no result (${signal ?? status}): ${stderr.slice(-400)}`);
  const { t, tg, pl } = JSON.parse(row) as { t: number; tg: number; pl: number };
  return { command: ['llama-batched-bench', ...args].join(' '), generatedTokensPerSecond: (tg * pl) / t };
}
