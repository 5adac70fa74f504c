import { fork } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { mendLlamaSource } from '../../models/llama-source.js';
import { describeNativeBuild, type NativeBuild, readNativeBuild } from '../../models/native-build.js';
import { packageFolder } from '../../models/package-folder.js';
import { exitCodeOf, StopSignals } from '../stop-signals.js';
import type { Terminal } from '../terminal.js';
import { buildProgress, runStep } from './steps.js';
import { missingBuildTools } from './tools.js';

/**
 * Compiles the llama.cpp inside node-llama-cpp for this processor, with OpenMP, where `serve` finds it. Needs no
 * network: the source is in the package. The result lies in node_modules and goes when that is installed anew.
 * @returns the exit code
 */
export async function buildNative(terminal: Terminal): Promise<number> {
  const say = (line: string) => terminal.writeError(`${line}\n`);
  const missing = missingBuildTools(terminal.environment.PATH);
  for (const sentence of missing) say(sentence);
  if (missing.length > 0) return 1;
  const before = await readNativeBuild('prebuilt').catch(() => null);
  if (before && before.device !== 'cpu') {
    say(
      `llama.cpp computes with ${before.device} here; this build is for the processor and would not be used.`,
    );
    return 1;
  }
  const signals = new StopSignals();
  try {
    await compile(say, signals.abortSignal);
  } catch (error) {
    const { aborted } = signals.abortSignal;
    if (!aborted) say(`${compilerWords(error)}\n`);
    say(`${aborted ? 'Stopped' : 'This failed, see above'}: chairlift serve uses the prebuilt llama.cpp.`);
    return aborted ? exitCodeOf(await signals.first) : 1;
  } finally {
    signals.stopListening();
  }
  terminal.writeOutput(`${verdict(await readLocalBuild())}\n`);
  return 0;
}

async function compile(say: (line: string) => void, signal: AbortSignal): Promise<void> {
  const folder = packageFolder('node-llama-cpp');
  const source = (...words: string[]) => [join(folder, 'dist', 'cli', 'cli.js'), 'source', ...words];
  say('Unpacking the source of llama.cpp');
  await runStep(process.execPath, source('download', '--skipBuild', '--noUsageExample'), { signal });
  mendLlamaSource(join(folder, 'llama', 'llama.cpp'));
  say('Compiling it for this processor, which takes some minutes');
  const onLine = buildProgress(say);
  await runStep(process.execPath, source('build', '--gpu', 'false', '--noUsageExample'), { onLine, signal });
}

/** What the compiler said, without what node-llama-cpp says about itself after that. */
function compilerWords(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split(/^Failed to build llama\.cpp/m)[0]!.trimEnd();
}

function readLocalBuild(): Promise<NativeBuild> {
  const probe = `local-build-probe.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`;
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(new URL(probe, import.meta.url)));
    child.on('message', (build) => resolve(build as NativeBuild));
    child.on('error', reject);
    child.on('close', (code) =>
      reject(new Error(`what was built does not run here (it ended with code ${code})`)),
    );
  });
}

function verdict(build: NativeBuild): string {
  const advice = build.openMp
    ? ''
    : '\nThe compiler came without OpenMP, so several threads gain little (clang needs libomp).';
  return (
    `Built ${describeNativeBuild(build)}: ${build.instructions.join(', ')}.${advice}\n` +
    'chairlift serve uses it from now on; --native prebuilt goes back, and npm ci removes it.'
  );
}
