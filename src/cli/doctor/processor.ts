import { readFileSync } from 'node:fs';
import { arch, availableParallelism, cpus } from 'node:os';
import { type Check, ok, warn } from './check.js';

/** Flags of /proc/cpuinfo that llama.cpp has kernels for, with the name people know. */
const x64Features: readonly (readonly [pattern: RegExp, name: string])[] = [
  [/^avx$/, 'AVX'],
  [/^avx2$/, 'AVX2'],
  [/^fma$/, 'FMA'],
  [/^f16c$/, 'F16C'],
  [/^avx512f$/, 'AVX-512'],
  [/^(avx512_vnni|avx_vnni)$/, 'VNNI'],
  [/^avx512_bf16$/, 'BF16'],
  [/^amx_int8$/, 'AMX'],
];
const armFeatures: readonly (readonly [pattern: RegExp, name: string])[] = [
  [/^asimd$/, 'NEON'],
  [/^asimddp$/, 'dot product'],
  [/^asimdhp$/, 'FP16'],
  [/^i8mm$/, 'I8MM'],
  [/^sve$/, 'SVE'],
];

/** Names of the features in the text of /proc/cpuinfo, in the order of the tables above. */
export function processorFeatures(cpuinfo: string): string[] {
  const line = cpuinfo.match(/^(?:flags|Features)\s*:\s*(.*)$/m)?.[1] ?? '';
  const flags = line.split(/\s+/);
  return [...x64Features, ...armFeatures]
    .filter(([pattern]) => flags.some((flag) => pattern.test(flag)))
    .map(([, name]) => name);
}

export function checkProcessor(): Check {
  const model = cpus()[0]?.model.trim() || arch();
  const cpuinfo = readText('/proc/cpuinfo');
  if (cpuinfo === null) return ok('processor', `${model} (${arch()}; features are not shown on this system)`);
  const features = processorFeatures(cpuinfo);
  const finding = `${model}: ${features.join(', ') || 'no vector features found'}`;
  if (arch() === 'x64' && !features.includes('AVX2'))
    return warn('processor', finding, 'without AVX2 generation is several times slower; use a newer machine');
  return ok('processor', finding);
}

/** @param wanted the threads the options ask for; null: the default */
export function checkThreads(wanted: number | null): Check {
  const cores = availableParallelism();
  const quota = cpuQuota(readText('/sys/fs/cgroup/cpu.max'));
  const usable = Math.max(1, Math.min(cores, Math.floor(quota ?? cores)));
  const threads = wanted ?? cores;
  const finding = `${threads} compute threads, ${cores} cores${quota === null ? '' : `, CPU limit ${quota}`}`;
  if (threads > usable)
    return warn('threads', finding, `more threads than cores wait for each other; use --threads ${usable}`);
  return ok('threads', finding);
}

/** Cores a cgroup v2 allows, from the text of `cpu.max`; null: no limit. */
export function cpuQuota(text: string | null): number | null {
  const [quota, period] = (text ?? '').trim().split(/\s+/).map(Number);
  return quota && period && Number.isFinite(quota) ? Math.round((quota / period) * 100) / 100 : null;
}

function readText(path: string): string | null {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return null;
  }
}
