import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import type { Check } from '../../src/cli/doctor/check.js';
import { chooseShape } from '../../src/cli/doctor/memory.js';
import { judgeNativeBuild } from '../../src/cli/doctor/native.js';
import { cpuQuota, processorFeatures } from '../../src/cli/doctor/processor.js';
import { checkModel, checkNode } from '../../src/cli/doctor/surroundings.js';
import { runCommandLine } from '../../src/cli/program.js';
import type { NativeBuild } from '../../src/models/native-build.js';
import { serveForTest } from '../support/local-server.js';
import { fakeTerminal } from './fake-terminal.js';

const scratch = mkdtempSync(join(tmpdir(), 'chairlift-doctor-'));
afterAll(() => rmSync(scratch, { recursive: true }));

async function report(...words: string[]): Promise<{ exitCode: number; checks: Record<string, Check> }> {
  const terminal = fakeTerminal();
  const base = ['doctor', '--json', '--port', '0', '--model-cache', scratch];
  const exitCode = await runCommandLine([...base, ...words], terminal);
  const { checks } = JSON.parse(terminal.output) as { checks: Check[] };
  return { exitCode, checks: Object.fromEntries(checks.map((check) => [check.name, check])) };
}

describe('doctor on this machine', () => {
  it('finds that serve can start, and says so line by line', async () => {
    const terminal = fakeTerminal();
    const exitCode = await runCommandLine(['doctor', '--port', '0', '--model-cache', scratch], terminal);
    expect(terminal.output).toContain('chairlift serve can start.');
    expect(exitCode).toBe(0);
    const lines = terminal.output.split('\n\n')[0]!.split('\n');
    expect(lines.map((line) => line.split(' ')[0])).toEqual([
      'node',
      'processor',
      'threads',
      'native',
      'model',
      'memory',
      'redis',
      'address',
    ]);
    for (const line of lines) expect(line).toMatch(/ - (ok$|warn: .+)/);
  });

  it('leaves out what the simulated engine does not need', async () => {
    const { checks, exitCode } = await report('--engine', 'sim');
    expect(exitCode).toBe(0);
    expect(checks.native).toBeUndefined();
    expect(checks.model).toMatchObject({ status: 'ok' });
  });
});

describe('doctor fails when serve would', () => {
  it('without the model file', async () => {
    const { checks, exitCode } = await report('--model', '/nonexistent.gguf');
    expect(exitCode).toBe(1);
    expect(checks.model).toMatchObject({ status: 'fail', advice: expect.stringContaining('--model') });
  });

  it('with a file that only starts like a model', async () => {
    const path = join(scratch, 'stub.gguf');
    writeFileSync(path, 'GGUF');
    const { checks, exitCode } = await report('--model', path);
    expect(exitCode).toBe(1);
    expect(checks.memory).toMatchObject({ status: 'fail' });
  });

  it('on a port that is taken', async () => {
    const { port } = new URL(await serveForTest());
    const { checks, exitCode } = await report('--engine', 'sim', '--port', port);
    expect(exitCode).toBe(1);
    expect(checks.address).toMatchObject({ status: 'fail', advice: expect.stringContaining('--port') });
  });

  it('but not without Redis, which is only a warning and shows no password', async () => {
    const { checks, exitCode } = await report(
      '--engine',
      'sim',
      '--redis-url',
      'redis://u:hunter2@127.0.0.1:9',
    );
    expect(exitCode).toBe(0);
    expect(checks.redis).toMatchObject({ status: 'warn' });
    expect(JSON.stringify(checks)).not.toContain('hunter2');
  });
});

describe('single findings', () => {
  it('Node below the oldest supported fails', () => {
    for (const version of ['20.19.0', '22.12.0', '23.0.0', '24.0.0'])
      expect(checkNode(version).status).toBe('ok');
    for (const version of ['18.20.0', '20.18.9', '21.7.3', '22.11.0'])
      expect(checkNode(version).status).toBe('fail');
  });

  it('processor features come from /proc/cpuinfo of x64 and arm', () => {
    const x64 = 'model name : X\nflags\t\t: fpu avx avx2 avx512f avx512_vnni amx_int8 fma\n';
    expect(processorFeatures(x64)).toEqual(['AVX', 'AVX2', 'FMA', 'AVX-512', 'VNNI', 'AMX']);
    expect(processorFeatures('Features\t: fp asimd asimddp i8mm\n')).toEqual(['NEON', 'dot product', 'I8MM']);
    expect(processorFeatures('')).toEqual([]);
  });

  it('the CPU limit of a container is cgroup quota over period', () => {
    expect(cpuQuota('150000 100000\n')).toBe(1.5);
    expect(cpuQuota('max 100000\n')).toBeNull();
    expect(cpuQuota(null)).toBeNull();
  });

  it('slots halve until their KV fits into half of the free memory, unless they were asked for', () => {
    const facts = { kvBytesPerToken: 1000, trainedContextTokens: 8192 };
    const slotBytes = 2048 * 1000;
    const unset = { slots: null, contextTokens: null };
    expect(chooseShape(unset, facts, slotBytes * 64)).toEqual({ slots: 32, contextTokens: 2048 });
    expect(chooseShape(unset, facts, slotBytes * 64 - 1)).toEqual({ slots: 16, contextTokens: 2048 });
    expect(chooseShape(unset, facts, 0).slots).toBe(1);
    expect(chooseShape({ slots: 64, contextTokens: 100 }, facts, 0)).toEqual({
      slots: 64,
      contextTokens: 100,
    });
    expect(chooseShape(unset, { ...facts, trainedContextTokens: 512 }, 1e12).contextTokens).toBe(512);
  });

  it('a source build is recommended only where it would help', () => {
    const prebuilt: NativeBuild = {
      kind: 'prebuilt',
      release: 'v0.5.0',
      device: 'cpu',
      openMp: false,
      instructions: [],
    };
    expect(judgeNativeBuild(prebuilt, 2)).toMatchObject({ status: 'warn' });
    expect(judgeNativeBuild(prebuilt, 2).advice).toContain('chairlift build-native');
    expect(judgeNativeBuild(prebuilt, 1).status).toBe('ok');
    expect(judgeNativeBuild({ ...prebuilt, device: 'cuda' }, 2).status).toBe('ok');
    expect(judgeNativeBuild({ ...prebuilt, kind: 'local build', openMp: true }, 2).status).toBe('ok');
  });

  it('an absent model stops serve only offline and without the bundled one', () => {
    const absent = (bundledAvailable: boolean) => ({ state: 'fetchable', bundledAvailable }) as const;
    expect(checkModel(absent(false), false).status).toBe('warn');
    expect(checkModel(absent(true), true).status).toBe('warn');
    expect(checkModel(absent(false), true).status).toBe('fail');
    expect(checkModel({ state: 'damaged', reason: 'x' }, false).status).toBe('warn');
  });
});
