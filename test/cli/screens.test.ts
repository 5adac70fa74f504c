import { describe, expect, it } from 'vitest';
import { DownloadDisplay } from '../../src/cli/download-display.js';
import { curlCommand, type FirstScreen, firstScreen } from '../../src/cli/first-screen.js';
import { runCommandLine } from '../../src/cli/program.js';
import { probeRedis } from '../../src/cli/redis-probe.js';
import { explainStartFailure } from '../../src/cli/start-failure.js';
import { formatBytes } from '../../src/cli/terminal.js';
import { type FlagValues, loadServeConfig } from '../../src/config/load-config.js';
import { fakeTerminal } from './fake-terminal.js';

const configOf = (flags: FlagValues) => loadServeConfig({ flags, environment: {} }).config;

function screenOf(flags: FlagValues, changes: Partial<FirstScreen> = {}): FirstScreen {
  return {
    config: configOf(flags),
    model: {
      id: "it's-tiny",
      createdSeconds: 0,
      source: '/models/tiny.gguf',
      sizeBytes: 98_362_432,
      contextTokens: 2048,
      slotCount: 32,
      kind: 'tiny',
    },
    url: 'http://0.0.0.0:8080',
    redis: 'not configured',
    terminal: fakeTerminal(),
    ...changes,
  };
}

describe('firstScreen', () => {
  it('says where the model came from, and when it is a toy', () => {
    expect(firstScreen(screenOf({}))).toContain(
      "it's-tiny, 93.8 MiB, TOY MODEL of our own, /models/tiny.gguf",
    );
  });

  it('a gateway, which computes nothing, says nothing of slots, threads and native code', () => {
    const model = { ...screenOf({}).model, kind: 'none' as const };
    const namesOn = (screen: string) => [...screen.matchAll(/^ {2}(\w+) {2,}/gm)].map(([, name]) => name);
    expect(namesOn(firstScreen(screenOf({}, { model })))).toEqual([
      'model',
      'queue',
      'redis',
      'address',
      'docs',
    ]);
    expect(namesOn(firstScreen(screenOf({})))).toEqual(
      expect.arrayContaining(['native', 'slots', 'threads']),
    );
  });

  it('has colours for people and none for pipes or NO_COLOR', () => {
    const coloured = (environment: Record<string, string>, interactive: boolean) =>
      firstScreen(screenOf({}, { terminal: fakeTerminal(environment, interactive) })).includes('\u001b[');
    expect(coloured({}, true)).toBe(true);
    expect(coloured({ NO_COLOR: '1' }, true)).toBe(false);
    expect(coloured({}, false)).toBe(false);
  });

  it('asks an address that can be reached and quotes for the shell', () => {
    const command = curlCommand(screenOf({}));
    expect(command).toContain('curl http://127.0.0.1:8080/v1/chat/completions');
    expect(command).toContain("it'\\''s-tiny");
    expect(command).toContain('"max_tokens":64');
    expect(command).not.toContain('Authorization');
    expect(curlCommand(screenOf({}, { url: 'http://[::]:1' }))).toContain('http://[::1]:1/');
  });

  it('shows a placeholder for the key, never the key', () => {
    const command = curlCommand(screenOf({ apiKey: ['very-secret'] }));
    expect(command).toContain('-H "Authorization: Bearer $CHAIRLIFT_API_KEY"');
    expect(command).not.toContain('very-secret');
  });
});

describe('DownloadDisplay', () => {
  it('writes a line per tenth where nobody watches', () => {
    const terminal = fakeTerminal();
    const display = new DownloadDisplay(terminal);
    for (let downloadedBytes = 0; downloadedBytes <= 1000; downloadedBytes++)
      display.progress({ downloadedBytes, totalBytes: 1000 });
    expect(terminal.errors.trim().split('\n')).toHaveLength(11);
    expect(terminal.errors).toContain('50% of 1000 bytes');
    expect(terminal.errors).not.toContain('\r');
  });

  it('redraws one bar on a terminal and clears it for the next line', () => {
    const terminal = fakeTerminal({}, true);
    const display = new DownloadDisplay(terminal);
    display.progress({ downloadedBytes: 500, totalBytes: 1000 });
    expect(terminal.errors).toContain(`[${'#'.repeat(15)}${' '.repeat(15)}] 50% of 1000 bytes`);
    display.report('done');
    expect(terminal.errors.endsWith('\r\u001b[2Kdone\n')).toBe(true);
  });

  it('counts bytes when the total is not known', () => {
    const terminal = fakeTerminal();
    new DownloadDisplay(terminal).progress({ downloadedBytes: 64 * 1_048_576, totalBytes: null });
    expect(terminal.errors).toBe('  64.0 MiB\n');
  });
});

describe('explainStartFailure', () => {
  it.each([
    ['EADDRINUSE', /in use; .*--port/],
    ['EACCES', /--port above 1023/],
    ['EADDRNOTAVAIL', /--host/],
  ])('%s', (code, words) => {
    const error = Object.assign(new Error('listen'), { code });
    expect(explainStartFailure(error, configOf({}))).toMatch(words);
  });

  it('keeps to the first line, and says what to do about memory', () => {
    const error = new Error('The context is too large for the available memory\n    at somewhere');
    expect(explainStartFailure(error, configOf({}))).toBe(
      'The context is too large for the available memory; choose fewer --slots or a smaller --context',
    );
  });
});

describe('probeRedis', () => {
  it('is quick and keeps the password when nobody listens', async () => {
    const startedMs = performance.now();
    const redis = await probeRedis('redis://user:hunter2@127.0.0.1:9');
    expect(redis).toEqual({
      state: 'unreachable',
      url: 'redis://user:***@127.0.0.1:9',
      reason: 'ECONNREFUSED',
    });
    expect(performance.now() - startedMs).toBeLessThan(3_000);
  });
});

describe('the top-level command', () => {
  it('--help lists commands and the flags of serve', async () => {
    const terminal = fakeTerminal();
    expect(await runCommandLine(['--help'], terminal)).toBe(0);
    for (const word of ['serve', 'pull', 'doctor', 'bench', '--max-waiting-tokens'])
      expect(terminal.output).toContain(word);
  });

  it('--version prints the version of the package', async () => {
    const terminal = fakeTerminal();
    expect(await runCommandLine(['--version'], terminal)).toBe(0);
    expect(terminal.output).toMatch(/^\d+\.\d+\.\d+\n$/);
  });

  it('bytes are shown in units people know', () => {
    expect([0, 1023, 1024, 98_362_432, 1_519_386_624].map(formatBytes)).toEqual([
      '0 bytes',
      '1023 bytes',
      '1.0 KiB',
      '93.8 MiB',
      '1.4 GiB',
    ]);
  });
});
