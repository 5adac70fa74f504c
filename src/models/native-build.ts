/** How the llama.cpp that this process would load was built. */
export interface NativeBuild {
  kind: 'prebuilt' | 'local source build';
  /** Release of llama.cpp, for example `v0.5.0`. */
  release: string;
  /** `cpu`, `cuda`, `vulkan` or `metal`. */
  device: string;
  openMp: boolean;
  /** Instruction sets the loaded CPU backend uses, for example `AVX2`. */
  instructions: string[];
  mathCores: number;
}

/** Loads the native library without a model. @throws Error in one line when there is none that runs here */
export async function readNativeBuild(): Promise<NativeBuild> {
  const { getLlama, LlamaLogLevel } = await import('node-llama-cpp');
  const llama = await getLlama({
    build: 'never',
    skipDownload: true,
    progressLogs: false,
    logLevel: LlamaLogLevel.disabled,
  });
  try {
    const flags = parseSystemInfo(llama.systemInfo);
    return {
      kind: llama.buildType === 'localBuild' ? 'local source build' : 'prebuilt',
      release: llama.llamaCppRelease.release,
      device: llama.gpu === false ? 'cpu' : llama.gpu,
      openMp: flags.includes('OPENMP'),
      instructions: flags.filter((flag) => !['OPENMP', 'LLAMAFILE', 'REPACK'].includes(flag)),
      mathCores: llama.cpuMathCores,
    };
  } finally {
    await llama.dispose();
  }
}

/** `CPU : SSE3 = 1 | AVX = 1 | OPENMP = 1 |` gives the names that are 1. */
export function parseSystemInfo(text: string): string[] {
  return [...text.matchAll(/(\w+) = 1\b/g)].map((match) => match[1]!);
}
