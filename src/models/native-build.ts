import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Llama, LlamaOptions } from 'node-llama-cpp';
import { packageFolder } from './package-folder.js';

/** Which llama.cpp to load: a local build where there is one, else the prebuilt one; or strictly one of them. */
export const nativeChoices = ['auto', 'prebuilt', 'local'] as const;
export type NativeChoice = (typeof nativeChoices)[number];

/** How the llama.cpp that this process would load was built. */
export interface NativeBuild {
  kind: 'prebuilt' | 'local build';
  /** Release of llama.cpp, for example `v0.5.0`. */
  release: string;
  /** `cpu`, `cuda`, `vulkan` or `metal`. */
  device: string;
  openMp: boolean;
  /** Instruction sets the loaded CPU backend uses, for example `AVX2`. */
  instructions: string[];
}

/** Loads the native library. @throws Error in one line when there is none of this kind that runs here */
export async function openNativeLibrary(
  choice: NativeChoice,
  options: Pick<LlamaOptions, 'logger' | 'logLevel' | 'maxThreads'>,
): Promise<Llama> {
  const { getLlama, NoBinaryFoundError } = await import('node-llama-cpp');
  try {
    return await getLlama({
      build: 'never',
      skipDownload: true,
      progressLogs: false,
      usePrebuiltBinaries: choice !== 'local',
      // node-llama-cpp finds a local build by the CMake options it was made with; none is made with this one.
      ...(choice === 'prebuilt' && { cmakeOptions: { CHAIRLIFT_PREBUILT: 'ON' } }),
      ...options,
    });
  } catch (error) {
    if (choice !== 'local' || !(error instanceof NoBinaryFoundError)) throw error;
    throw new Error(
      'no local build of llama.cpp is here; run npm run build:native, or leave out --native local',
    );
  }
}

/** Whether build:native has left a library here. */
export function hasLocalBuild(): boolean {
  const folder = join(packageFolder('node-llama-cpp'), 'llama', 'localBuilds');
  if (!existsSync(folder)) return false;
  return readdirSync(folder).some((name) => existsSync(join(folder, name, 'Release', 'llama-addon.node')));
}

/** Loads the native library without a model. @throws Error in one line when there is none that runs here */
export async function readNativeBuild(choice: NativeChoice): Promise<NativeBuild> {
  const { LlamaLogLevel } = await import('node-llama-cpp');
  const llama = await openNativeLibrary(choice, { logLevel: LlamaLogLevel.disabled });
  try {
    return nativeBuildOf(llama);
  } finally {
    await llama.dispose();
  }
}

export function nativeBuildOf(llama: Llama): NativeBuild {
  const flags = parseSystemInfo(llama.systemInfo);
  return {
    kind: llama.buildType === 'localBuild' ? 'local build' : 'prebuilt',
    release: llama.llamaCppRelease.release,
    device: llama.gpu === false ? 'cpu' : llama.gpu,
    openMp: flags.includes('OPENMP'),
    instructions: flags.filter((flag) => !['OPENMP', 'LLAMAFILE', 'REPACK'].includes(flag)),
  };
}

/** For example `llama.cpp v0.5.0, prebuilt, cpu, no OpenMP`. */
export function describeNativeBuild({ kind, release, device, openMp }: NativeBuild): string {
  return `llama.cpp ${release}, ${kind}, ${device}, ${openMp ? 'OpenMP' : 'no OpenMP'}`;
}

/** `CPU : SSE3 = 1 | AVX = 1 | OPENMP = 1 |` gives the names that are 1. */
export function parseSystemInfo(text: string): string[] {
  return [...text.matchAll(/(\w+) = 1\b/g)].map((match) => match[1]!);
}
