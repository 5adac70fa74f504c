import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { buildProgress, runStep } from '../../src/cli/build-native/steps.js';
import { mendLlamaSource } from '../../src/models/llama-source.js';
import { packageFolder } from '../../src/models/package-folder.js';

/** The peers cannot be had; the message is one sentence for the person at the terminal. */
export class PeerError extends Error {
  override name = 'PeerError';
}

export interface PeerBinaries {
  /** Folder with llama-server, llama-batched-bench, llama-quantize and their libraries. */
  folder: string;
  /** The llama.cpp release that node-llama-cpp carries. */
  release: string;
  /** How they were built, as far as it is known. */
  build: string;
}

const binaries = ['llama-server', 'llama-batched-bench', 'llama-quantize'];
const cmakeFlags = [
  '-DCMAKE_BUILD_TYPE=Release',
  '-DGGML_NATIVE=ON',
  '-DLLAMA_CURL=OFF',
  '-DLLAMA_OPENSSL=OFF',
  '-DLLAMA_BUILD_TESTS=OFF',
  '-DLLAMA_BUILD_UI=OFF',
  '-DLLAMA_USE_PREBUILT_UI=OFF',
];
/** What must be the same for a build in the cache to be used again. */
const recipe = [
  cmakeFlags.filter((flag) => /BUILD_TYPE|NATIVE/.test(flag)).join(' '),
  'OpenMP',
  'AMX tile stores kept, f16 without AVX512-FP16',
].join('; ');

/** Where node-llama-cpp keeps the source of its llama.cpp, as a git bundle. */
const llamaFolder = join(packageFolder('node-llama-cpp'), 'llama');

export function llamaRelease(): string {
  const file = join(llamaFolder, 'binariesGithubRelease.json');
  return (JSON.parse(readFileSync(file, 'utf8')) as { release: string }).release;
}

/**
 * Finds llama-server of the release inside node-llama-cpp: in CHAIRLIFT_PEERS_DIR, in the cache, or by building it.
 * @param say gets lines of progress
 * @throws PeerError when it cannot be built
 */
export async function preparePeers(say: (line: string) => void): Promise<PeerBinaries> {
  const release = llamaRelease();
  const cache = join(homedir(), '.cache', 'chairlift', 'peers', release);
  const folder = join(cache, 'bin');
  const given = process.env.CHAIRLIFT_PEERS_DIR;
  if (given && !isComplete(given))
    throw new PeerError(`CHAIRLIFT_PEERS_DIR=${given} holds no ${binaries.join(', ')}.`);
  if (given) return { folder: given, release, build: buildNote(given) };
  if (!isComplete(folder) || !buildNote(folder).endsWith(recipe)) await buildInto(cache, say);
  return { folder, release, build: buildNote(folder) };
}

/** Puts a ready build into the cache, so that the next run finds it without CHAIRLIFT_PEERS_DIR. */
export function adoptBuild(from: string, note: string): void {
  const folder = join(homedir(), '.cache', 'chairlift', 'peers', llamaRelease(), 'bin');
  if (!isComplete(from)) throw new PeerError(`${from} holds no ${binaries.join(', ')}.`);
  mkdirSync(folder, { recursive: true });
  cpSync(from, folder, { recursive: true, verbatimSymlinks: true });
  writeFileSync(join(folder, 'build.txt'), `${note}\n`);
}

function isComplete(folder: string): boolean {
  return binaries.every((name) => existsSync(join(folder, name)));
}

function buildNote(folder: string): string {
  const file = join(folder, 'build.txt');
  return existsSync(file) ? readFileSync(file, 'utf8').trim() : 'built elsewhere';
}

async function buildInto(cache: string, say: (line: string) => void): Promise<void> {
  for (const tool of ['git', 'cmake', 'ninja', 'c++']) {
    if (spawnSync(tool, ['--version']).error) {
      throw new PeerError(
        `Building llama-server needs ${tool}, which is not here (on Debian: apt-get install git cmake ninja-build g++); ` +
          'or point CHAIRLIFT_PEERS_DIR at a folder that holds the binaries.',
      );
    }
  }
  const source = join(cache, 'source');
  say(`Building llama.cpp ${llamaRelease()} into ${cache} (once, some minutes)`);
  if (!existsSync(join(source, 'CMakeLists.txt'))) {
    rmSync(source, { recursive: true, force: true });
    mkdirSync(cache, { recursive: true });
    const bundle = join(llamaFolder, 'gitRelease.bundle');
    await step('git', ['-c', 'advice.detachedHead=false', 'clone', '--quiet', bundle, source], {
      onLine: say,
    });
  }
  mendLlamaSource(source);
  const build = join(source, 'build');
  await step('cmake', ['-S', source, '-B', build, '-G', 'Ninja', ...cmakeFlags]);
  await step('ninja', ['-C', build, ...binaries], { onLine: buildProgress(say) });
  adoptBuild(join(build, 'bin'), describeBuild());
}

export function describeBuild(): string {
  const compiler = spawnSync('c++', ['--version'], { encoding: 'utf8' }).stdout?.split('\n', 1)[0];
  return `${compiler ?? 'unknown compiler'}; ${recipe}`;
}

async function step(...[program, args, options]: Parameters<typeof runStep>): Promise<void> {
  await runStep(program, args, options).catch((error: Error) => {
    throw new PeerError(error.message);
  });
}
