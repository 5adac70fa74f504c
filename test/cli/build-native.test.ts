import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, expect, it } from 'vitest';
import { buildProgress, runStep } from '../../src/cli/build-native/steps.js';
import { missingBuildTools } from '../../src/cli/build-native/tools.js';
import { runCommandLine } from '../../src/cli/program.js';
import { mendLlamaSource } from '../../src/models/llama-source.js';
import { describeNativeBuild, readNativeBuild } from '../../src/models/native-build.js';
import { fakeTerminal } from './fake-terminal.js';

const scratch = mkdtempSync(join(tmpdir(), 'chairlift-build-'));
afterAll(() => rmSync(scratch, { recursive: true }));

it('names every tool that is missing in a sentence of its own, and builds nothing', async () => {
  const terminal = fakeTerminal({ PATH: scratch });
  expect(await runCommandLine(['build-native'], terminal)).toBe(1);
  const sentences = terminal.errors.trim().split('\n');
  expect(sentences.map((sentence) => sentence.match(/needs (.+), which/)?.[1])).toEqual([
    'npm',
    'git',
    'cmake',
    'a C++ compiler',
    'make or ninja',
  ]);
  for (const sentence of sentences) expect(sentence).toMatch(/apt-get install \S+\)\.$/);
});

it('takes any compiler and any build program', () => {
  for (const program of ['npm', 'git', 'cmake', 'clang++', 'ninja'])
    symlinkSync('/bin/true', join(scratch, program));
  expect(missingBuildTools(scratch)).toEqual([]);
});

it('shows every tenth of what ninja or make say, once', () => {
  const said: string[] = [];
  const onLine = buildProgress((line) => said.push(line));
  for (const line of ['-- Configuring', '[1/20] a', '[3/20] b', '[5/20] c', '[ 37%] d', '[20/20] e'])
    onLine(line);
  expect(said).toEqual(['  10%', '  20%', '  30%', '  100%']);
});

it('a step that fails ends with what it said', async () => {
  const lines: string[] = [];
  const step = runStep('/bin/sh', ['-c', 'echo first; echo no space left >&2; exit 3'], {
    onLine: (line) => lines.push(line),
  });
  await expect(step).rejects.toThrow(/code 3:\n(.*\n)*no space left/);
  expect(lines.sort()).toEqual(['first', 'no space left']);
});

it('a step that is stopped takes with it what it started', async () => {
  const controller = new AbortController();
  // The step ends when nobody holds its output any more: a sleep that went on would.
  const step = runStep('/bin/sh', ['-c', 'sleep 600 & echo started; wait'], {
    onLine: () => controller.abort(new Error('stopped by SIGTERM')),
    signal: controller.signal,
  });
  await expect(step).rejects.toThrow('stopped by SIGTERM');
});

it('mends the source of llama.cpp once, and says when a place is not there', () => {
  const folder = join(scratch, 'ggml', 'src', 'ggml-cpu');
  const tiles = join(folder, 'amx', 'mmq.cpp');
  const halves = join(folder, 'simd-mappings.h');
  mkdirSync(dirname(tiles), { recursive: true });
  writeFileSync(tiles, 'void f() {\n    _tile_loadconfig(&tc);\n}\n');
  writeFileSync(halves, '// F16 AVX512\n\n#if defined(__AVX512FP16__)\n#define GGML_F16_STEP 128\n');
  mendLlamaSource(scratch);
  mendLlamaSource(scratch);
  expect(readFileSync(tiles, 'utf8')).toBe(
    'void f() {\n    __asm__ volatile("" : : "m"(tc));\n    _tile_loadconfig(&tc);\n}\n',
  );
  expect(readFileSync(halves, 'utf8')).toMatch(/^\/\/ F16 AVX512\n\n#if 0 .*\n#define GGML_F16_STEP 128\n$/);
  writeFileSync(halves, '');
  expect(() => mendLlamaSource(scratch)).toThrow(/simd-mappings\.h has changed/);
});

it('loads the prebuilt llama.cpp when it is asked for', async () => {
  const build = await readNativeBuild('prebuilt');
  expect(build.kind).toBe('prebuilt');
  expect(describeNativeBuild(build)).toMatch(/^llama\.cpp v[\d.]+, prebuilt, \w+, (no )?OpenMP$/);
});
