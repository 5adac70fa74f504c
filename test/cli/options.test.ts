import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { runCommandLine } from '../../src/cli/program.js';
import type { ServeConfig } from '../../src/config/config.js';
import { ConfigError, type FlagValues, loadServeConfig } from '../../src/config/load-config.js';
import { isLoopbackHost } from '../../src/config/loopback.js';
import { type OptionKey, serveOptions } from '../../src/config/serve-options.js';
import { fakeTerminal } from './fake-terminal.js';

const scratch = mkdtempSync(join(tmpdir(), 'chairlift-options-'));
afterAll(() => rmSync(scratch, { recursive: true }));

function scratchFile(name: string, text: string, mode = 0o600): string {
  const path = join(scratch, name);
  writeFileSync(path, text);
  chmodSync(path, mode);
  return path;
}

function load(flags: FlagValues = {}, environment: Record<string, string> = {}): ServeConfig {
  // Without a Redis, every role but one is a contradiction.
  const redis = 'role' in flags || environment.CHAIRLIFT_ROLE ? { redisUrl: 'redis://localhost' } : {};
  return loadServeConfig({ flags: { ...redis, ...flags }, environment }).config;
}

/** Runs a command that must not get past its options. */
async function problemsOf(words: string[], environment: Record<string, string> = {}) {
  const terminal = fakeTerminal(environment);
  const exitCode = await runCommandLine(words, terminal);
  const problems = terminal.errors.split('\n').filter((line) => line.startsWith('  '));
  return { exitCode, terminal, problems: problems.map((line) => line.trim()) };
}

const keyFile = scratchFile('keys', '# ours\nfirst-key\n\n  second-key  \n');

/** Per option: a text, what it means, and another text that differs from it and from the default. */
const samples: Record<OptionKey, [text: string, value: unknown, other: string]> = {
  model: ['/models/a.gguf', '/models/a.gguf', 'hf:user/repo:Q4_K_M'],
  engine: ['sim', 'simulated', 'llama'],
  native: ['prebuilt', 'prebuilt', 'local'],
  host: ['::1', '::1', 'localhost'],
  port: ['9000', 9000, '9001'],
  slots: ['4', 4, '5'],
  contextTokens: ['512', 512, '1024'],
  batchTokens: ['256', 256, '128'],
  threads: ['3', 3, '2'],
  itlTargetMs: ['50', 50, '0'],
  ttftTargetsMs: [
    'batch=5000,interactive=300',
    { interactive: 300, standard: 10_000, batch: 5000 },
    'standard=1',
  ],
  maxWaitMs: ['interactive=0,batch=7', { interactive: 0, standard: 50_000, batch: 7 }, 'standard=1'],
  calibrate: ['false', false, 'true'],
  maxWaiting: ['0', 0, '7'],
  maxWaitingTokens: ['1000', 1000, '2000'],
  snapshotDirectory: ['/var/snapshots', '/var/snapshots', '/tmp/snapshots'],
  snapshotBytes: ['1000000', 1_000_000, '0'],
  apiKey: ['key-a', ['key-a'], 'key-b'],
  apiKeyFile: [keyFile, ['first-key', 'second-key'], scratchFile('other-keys', 'third-key')],
  allowUnauthenticated: ['true', true, 'false'],
  redisUrl: ['redis://127.0.0.1:6380', 'redis://127.0.0.1:6380', 'rediss://u:p@h:1/2'],
  role: ['worker', 'worker', 'gateway'],
  redisPrefix: ['blue', 'blue', 'green'],
  maxOverflow: ['5', 5, '6'],
  queueDashboard: ['true', true, 'false'],
  streamRetentionMs: ['5000', 5000, '6000'],
  redisLockMs: ['2000', 2000, '3000'],
  logLevel: ['debug', 'debug', 'warn'],
  offline: ['yes', true, 'no'],
  modelCacheDirectory: ['/var/models', '/var/models', '/tmp/models'],
  shutdownMs: ['1000', 1000, '2000'],
  queueTimeoutMs: ['1000', 1000, '2000'],
  requestTimeoutMs: ['1000', 1000, '2000'],
  maxBodyBytes: ['2048', 2048, '4096'],
  dataDirectory: ['/var/chairlift', '/var/chairlift', '/tmp/chairlift'],
  maxDataBytes: ['1000', 1000, '2000'],
  maxBatchFileBytes: ['2048', 2048, '4096'],
  maxBatchLines: ['10', 10, '20'],
  batchLinesInFlight: ['3', 3, '4'],
};

function fieldOf(config: ServeConfig, key: OptionKey): unknown {
  return key === 'apiKey' || key === 'apiKeyFile' ? config.apiKeys : config[key];
}

function asFlag(definition: (typeof serveOptions)[number], text: string): string | string[] | boolean {
  if (definition.repeats) return [text];
  return definition.valueName === null ? text === 'true' || text === 'yes' : text;
}

describe.each(serveOptions.map((definition) => [definition.flag, definition] as const))(
  '%s',
  (_, definition) => {
    const [text, value, other] = samples[definition.key];

    it('is read from the command line', () => {
      expect(fieldOf(load({ [definition.key]: asFlag(definition, text) }), definition.key)).toEqual(value);
    });

    it('is read from its environment twin', () => {
      expect(fieldOf(load({}, { [definition.environmentName]: text }), definition.key)).toEqual(value);
    });

    it('on the command line beats the environment', () => {
      const config = load(
        { [definition.key]: asFlag(definition, text) },
        { [definition.environmentName]: other },
      );
      expect(fieldOf(config, definition.key)).toEqual(value);
      expect(fieldOf(load({}, { [definition.environmentName]: other }), definition.key)).not.toEqual(value);
    });

    it('counts an empty environment variable as not set', () => {
      expect(load({}, { [definition.environmentName]: '' })).toEqual(load());
    });

    it('is in the help with its environment twin and default', async () => {
      const terminal = fakeTerminal();
      expect(await runCommandLine(['serve', '--help'], terminal)).toBe(0);
      const help = terminal.output.replace(/\s+/g, ' ');
      const flag =
        definition.valueName === null
          ? definition.flag.replace('--', '--[no-]')
          : `${definition.flag} <${definition.valueName}>`;
      expect(help).toContain(`${flag} `);
      expect(help).toContain(`(${definition.environmentName}; default: ${definition.defaultText})`);
    });
  },
);

describe('defaults', () => {
  it('need no configuration at all', () => {
    expect(load()).toMatchObject({
      model: null,
      engine: 'llama',
      host: '127.0.0.1',
      port: 8080,
      slots: null,
      batchTokens: 512,
      maxWaiting: 512,
      maxWaitingTokens: 262_144,
      apiKeys: [],
      shutdownMs: 30_000,
      queueTimeoutMs: 120_000,
      requestTimeoutMs: 600_000,
      maxBodyBytes: 4_194_304,
      logLevel: 'info',
    });
  });
});

describe('a wrong value', () => {
  it.each([
    ['--port', '-1', 'from 0 to 65535'],
    ['--port', '65536', 'from 0 to 65535'],
    ['--port', '80.5', 'whole number'],
    ['--port', '8O80', 'whole number'],
    ['--port', '1e3', 'whole number'],
    ['--slots', '0', 'from 1 to 256'],
    ['--slots', '257', 'from 1 to 256'],
    ['--slots', 'many', 'from 1 to 256'],
    ['--context', '63', 'from 64 to'],
    ['--batch', '0', 'from 1 to 16384'],
    ['--threads', '0', 'from 1 to 1024'],
    ['--max-waiting', '-1', 'from 0 to'],
    ['--max-waiting-tokens', 'all', 'whole number'],
    ['--shutdown-ms', '3600001', 'from 0 to 3600000'],
    ['--queue-timeout-ms', '0', 'from 1 to'],
    ['--request-timeout-ms', '0', 'from 1 to'],
    ['--max-body-bytes', '1023', 'from 1024 to'],
    ['--ttft-target-ms', 'urgent=5', 'such as interactive=2000,standard=10000,batch=600000'],
    ['--ttft-target-ms', 'batch=0', 'each from 1 to'],
    ['--native', 'gpu', 'one of auto, prebuilt, local'],
    ['--engine', 'onnx', 'one of llama, sim'],
    ['--engine', 'constructor', 'one of llama, sim'],
    ['--log-level', 'inf', 'did you mean info?'],
    ['--host', 'http://localhost', 'IP address or a host name'],
    ['--host', '127.0.0.256', 'IP address or a host name'],
    ['--redis-url', 'localhost:6379', 'such as redis://'],
    ['--redis-url', 'http://localhost', 'such as redis://'],
    ['--model', 'hf:nobody', 'hf:user/repo:quant'],
    ['--model', 'https://example.com/a.gguf', 'download other URLs first'],
    ['--api-key-file', '/nonexistent/keys', 'cannot be read (ENOENT)'],
  ])('%s %s is refused with its limit, exit code 2 and no stack trace', async (flag, value, limit) => {
    const { exitCode, problems, terminal } = await problemsOf(['serve', flag, value]);
    expect(exitCode).toBe(2);
    expect(problems).toHaveLength(1);
    expect(problems[0]).toContain(`${flag} ${value}: `);
    expect(problems[0]).toContain(limit);
    expect(terminal.errors).not.toMatch(/\n\s+at |Error:/);
    expect(terminal.output).toBe('');
  });

  it('from the environment is named by its variable', async () => {
    const { problems } = await problemsOf([], { CHAIRLIFT_SLOTS: '0', CHAIRLIFT_OFFLINE: 'maybe' });
    expect(problems).toEqual([
      'CHAIRLIFT_SLOTS=0: must be a whole number from 1 to 256',
      'CHAIRLIFT_OFFLINE=maybe: must be one of true, false, 1, 0, yes, no, on, off',
    ]);
  });

  it('does not hide the others: all are listed at once', async () => {
    const words = ['--slots', '0', '--port', '99999', '--slotz', '5', '--threads', '--host', '0.0.0.0'];
    const { exitCode, problems } = await problemsOf(words, { CHAIRLIFT_LOG_LEVEL: 'loud' });
    expect(exitCode).toBe(2);
    const named = problems.map((problem) => problem.split(/[:= ]/)[0]);
    expect(new Set(named)).toEqual(
      new Set(['--slots', '--port', '--threads', 'CHAIRLIFT_LOG_LEVEL', '--slotz', '--host']),
    );
  });
});

describe('words nobody knows', () => {
  it.each([
    [['--slot', '4'], '--slot: unknown option; did you mean --slots?'],
    [['serve', '--ofline'], '--ofline: unknown option; did you mean --offline?'],
    [['--prot=80'], '--prot: unknown option; did you mean --port?'],
    [['--frobnicate'], '--frobnicate: unknown option'],
    [['serv'], 'serv: unknown command; did you mean serve?'],
    [['docter', '--json'], 'docter: unknown command; did you mean doctor?'],
    [['my.gguf'], 'my.gguf: unexpected argument; write --model my.gguf'],
    [['pull', 'hf:a/b', 'hf:c/d'], 'hf:c/d: unexpected argument; write --model hf:c/d'],
  ])('%j', async (words, problem) => {
    const { exitCode, problems } = await problemsOf(words);
    expect(exitCode).toBe(2);
    expect(problems).toContain(problem);
  });

  it('in the environment are warned about when they look like a mistake', () => {
    const { warnings } = loadServeConfig({
      flags: {},
      environment: { CHAIRLIFT_PROT: '1', CHAIRLIFT_DEPLOYED_BY: 'x', PORT: '3' },
    });
    expect(warnings).toEqual(['CHAIRLIFT_PROT is not an option; did you mean CHAIRLIFT_PORT?']);
  });
});

describe('values that contradict each other', () => {
  it('a public address without a key is refused', () => {
    expect(() => load({ host: '0.0.0.0' })).toThrow(/needs --api-key/);
    expect(() => load({}, { CHAIRLIFT_HOST: '192.168.1.4' })).toThrow(/^CHAIRLIFT_HOST 192/);
    expect(load({ host: '0.0.0.0', apiKey: ['k'] }).apiKeys).toEqual(['k']);
    expect(load({ host: '0.0.0.0', apiKeyFile: keyFile }).host).toBe('0.0.0.0');
    expect(load({ host: '0.0.0.0', allowUnauthenticated: true }).host).toBe('0.0.0.0');
  });

  it('a gateway or worker without a Redis is refused', async () => {
    expect((await problemsOf(['--role', 'gateway'])).problems).toEqual(['--role gateway: needs --redis-url']);
  });

  it('a call smaller than the number of slots is refused', () => {
    expect(() => load({ slots: '64', batchTokens: '63' })).toThrow(/--batch 63: must be at least .*64/);
    expect(load({ slots: '64', batchTokens: '64' }).batchTokens).toBe(64);
  });

  it.each([
    ['127.0.0.1', true],
    ['127.8.9.1', true],
    ['localhost', true],
    ['::1', true],
    ['0:0:0:0:0:0:0:1', true],
    ['::ffff:127.0.0.1', true],
    ['0.0.0.0', false],
    ['::', false],
    ['::2', false],
    ['1::1', false],
    ['10.0.0.1', false],
    ['localhost.example.com', false],
    ['127.0.0.1.example.com', false],
  ])('isLoopbackHost(%s) is %s', (host, expected) => {
    expect(isLoopbackHost(host)).toBe(expected);
  });
});

describe('API keys', () => {
  it('come from repeated flags and the file, each once', () => {
    const config = load({ apiKey: ['key-a', 'first-key', 'key-a'], apiKeyFile: keyFile });
    expect(config.apiKeys).toEqual(['key-a', 'first-key', 'second-key']);
  });

  it('are separated by commas in the environment', () => {
    expect(load({}, { CHAIRLIFT_API_KEY: 'a, b,,c' }).apiKeys).toEqual(['a', 'b', 'c']);
  });

  it.each(['', '\n\n', '# only a comment\n'])('a file without a key is refused: %j', (text) => {
    const path = scratchFile('no-keys', text);
    expect(() => load({ apiKeyFile: path })).toThrow(/holds no key/);
  });

  it('a file that everyone may read is warned about', () => {
    const path = scratchFile('open-keys', 'k\n', 0o644);
    expect(loadServeConfig({ flags: { apiKeyFile: path }, environment: {} }).warnings).toEqual([
      expect.stringContaining(`chmod 600 ${path}`),
    ]);
    expect(loadServeConfig({ flags: { apiKeyFile: keyFile }, environment: {} }).warnings).toEqual([]);
  });

  it('and passwords are never shown', async () => {
    const secret = 'hunter2 hunter2';
    const { terminal } = await problemsOf(['--api-key', secret, '--redis-url', 'redis://user:hunter2@:x'], {
      CHAIRLIFT_API_KEY_FILE: scratchFile('bad-keys', `good\n${secret}\n`),
    });
    expect(terminal.errors).toContain('line 2 must be');
    expect(terminal.errors).not.toContain('hunter2');
  });
});

describe('ConfigError', () => {
  it('keeps its problems apart', () => {
    try {
      load({ port: 'x', slots: 'y' });
      expect.unreachable();
    } catch (error) {
      expect((error as ConfigError).problems).toHaveLength(2);
      expect(error).toBeInstanceOf(ConfigError);
    }
  });
});
