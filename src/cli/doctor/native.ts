import { accessSync, constants } from 'node:fs';
import { availableParallelism } from 'node:os';
import { delimiter, join } from 'node:path';
import { type NativeBuild, readNativeBuild } from '../../models/native-build.js';
import { type Check, fail, ok, warn } from './check.js';

const buildCommand = 'npx --no node-llama-cpp source download';

/** Which llama.cpp would run, and whether compiling it on this machine would make it faster. */
export async function checkNativeBuild(): Promise<Check> {
  let build: NativeBuild;
  try {
    build = await readNativeBuild();
  } catch (error) {
    const reason = error instanceof Error ? error.message.split('\n')[0]! : String(error);
    return fail('native', `no llama.cpp runs here (${reason})`, `compile it: ${buildAdvice()}`);
  }
  return judgeNativeBuild(build, availableParallelism());
}

export function judgeNativeBuild(build: NativeBuild, cores: number): Check {
  const openMp = build.openMp ? 'OpenMP' : 'no OpenMP';
  const finding = `llama.cpp ${build.release}, ${build.kind}, ${build.device}, ${openMp}: ${build.instructions.join(', ')}`;
  if (build.kind === 'prebuilt' && build.device === 'cpu' && !build.openMp && cores > 1)
    return warn(
      'native',
      finding,
      `a source build adds OpenMP and this processor's own instructions, which speeds up decoding on several threads${compilerCaveat(build)}: ${buildAdvice()}`,
    );
  return ok('native', finding);
}

/** Seen with GCC 12.2 and llama.cpp v0.5.0: the process dies with an illegal instruction in its first prefill. */
function compilerCaveat({ instructions }: NativeBuild): string {
  return instructions.includes('AMX_INT8') ? ' (not with GCC 12, which breaks the AMX kernels)' : '';
}

function buildAdvice(): string {
  const missing = [
    ...(isOnPath('cmake') ? [] : ['cmake']),
    ...(['c++', 'g++', 'clang++', 'cl.exe'].some(isOnPath) ? [] : ['a C++ compiler']),
  ];
  return missing.length === 0
    ? `${buildCommand} (cmake and a compiler are here)`
    : `install ${missing.join(' and ')}, then ${buildCommand}`;
}

function isOnPath(program: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
