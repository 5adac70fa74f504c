import { readFileSync } from 'node:fs';
import * as os from 'node:os';

export interface MachineInfo {
  cpu: string;
  cores: number;
  memoryBytes: number;
  kernel: string;
  node: string;
}

export function machineInfo(): MachineInfo {
  return {
    cpu: cpuName(),
    cores: os.availableParallelism(),
    memoryBytes: os.totalmem(),
    kernel: `${os.type()} ${os.release()} ${os.arch()}`,
    node: process.version,
  };
}

/** A virtual machine may hide the name; then the instruction sets say the most. */
function cpuName(): string {
  const model = os.cpus()[0]?.model.trim() ?? '';
  const flags = cpuFlags().filter((flag) =>
    /^(avx2|avx512f|avx512_vnni|avx_vnni|amx_int8|neon|asimd)$/.test(flag),
  );
  const name = model && model !== 'unknown' ? model : 'unnamed CPU';
  return flags.length === 0 ? name : `${name} (${[...new Set(flags)].join(', ')})`;
}

function cpuFlags(): string[] {
  try {
    const line = readFileSync('/proc/cpuinfo', 'utf8').match(/^(flags|Features)\s*:(.*)$/m);
    return line?.[2]?.trim().split(/\s+/) ?? [];
  } catch {
    return [];
  }
}
