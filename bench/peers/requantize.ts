import { spawnSync } from 'node:child_process';
import { existsSync, renameSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { type PeerBinaries, PeerError } from './prepare.js';

/**
 * The same model in another quantisation, made once beside the file it comes from. Quality suffers twice, speed does
 * not: this is for measuring, e.g. Q4_0, for which llama.cpp has the most kernels.
 * @param type as llama-quantize names it, e.g. `Q4_0`
 * @throws PeerError when llama-quantize refuses
 */
export function requantize(modelPath: string, type: string, { folder }: PeerBinaries): string {
  const stem = basename(modelPath).replace(/(\.Q\w+)?\.gguf$/i, '');
  const target = join(dirname(modelPath), `${stem}.${type}.gguf`);
  if (existsSync(target)) return target;
  const partial = `${target}.partial`;
  const { status, stderr } = spawnSync(
    join(folder, 'llama-quantize'),
    ['--allow-requantize', modelPath, partial, type],
    { encoding: 'utf8', env: { ...process.env, LD_LIBRARY_PATH: folder } },
  );
  if (status !== 0) throw new PeerError(`llama-quantize could not make ${type}:\n${stderr.slice(-1000)}`);
  renameSync(partial, target);
  return target;
}
