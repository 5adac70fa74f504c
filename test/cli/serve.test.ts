import { type ChildProcess, spawn } from 'node:child_process';
import { afterEach, describe, expect, it } from 'vitest';
import { serveForTest } from '../support/local-server.js';

/** The real command in a process of its own, from the sources. */
class Command {
  readonly process: ChildProcess;
  output = '';
  errors = '';
  readonly ended: Promise<number | null>;

  constructor(words: string[], environment: Record<string, string> = {}) {
    this.process = spawn(process.execPath, ['--import', 'tsx', 'src/cli/chairlift.cts', ...words], {
      env: { PATH: process.env.PATH, HOME: process.env.HOME, ...environment },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.process.stdout!.on('data', (text) => {
      this.output += text;
    });
    this.process.stderr!.on('data', (text) => {
      this.errors += text;
    });
    this.ended = new Promise((resolve) => this.process.once('close', resolve));
  }

  /** Waits for text on either stream. @throws Error when the process ends without it */
  async says(text: string): Promise<void> {
    const seen = () => this.output.includes(text) || this.errors.includes(text);
    while (!seen()) {
      if (this.process.exitCode !== null) throw new Error(`ended without "${text}": ${this.errors}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
}

const commands: Command[] = [];

function run(words: string[], environment?: Record<string, string>): Command {
  const command = new Command(words, environment);
  commands.push(command);
  return command;
}

afterEach(async () => {
  for (const command of commands.splice(0)) {
    command.process.kill('SIGKILL');
    await command.ended;
  }
});

/** What a shell makes of a command line. */
async function shellWords(line: string, environment: Record<string, string>): Promise<string[]> {
  const shell = spawn('sh', ['-c', `show() { printf '%s\\n' "$@"; }; show ${line}`], {
    env: { PATH: process.env.PATH, ...environment },
  });
  let words = '';
  shell.stdout.on('data', (text) => {
    words += text;
  });
  expect(await new Promise((resolve) => shell.once('close', resolve))).toBe(0);
  return words.trim().split('\n');
}

/** Does what curl would; a machine with only Node has none. */
async function curl(words: string[]): Promise<unknown> {
  const [program, url, ...options] = words;
  expect(program).toBe('curl');
  const headers = new Headers();
  let body: string | undefined;
  for (let index = 0; index < options.length; index += 2) {
    const value = options[index + 1]!;
    if (options[index] === '-d') body = value;
    else headers.append(value.split(': ')[0]!, value.split(': ')[1]!);
  }
  const response = await fetch(url!, { method: 'POST', headers, body: body! });
  return await response.json();
}

const simulated = ['serve', '--engine', 'sim', '--port', '0', '--slots', '4', '--log-level', 'silent'];

describe('the first screen', () => {
  it('names the facts and a curl command that works when pasted', async () => {
    const command = run([...simulated, '--max-waiting', '99'], { CHAIRLIFT_API_KEY: 'secret-key' });
    await command.says('Ctrl-C stops it.');
    expect(command.output).toMatch(/slots +4 x 2,048 tokens/);
    expect(command.output).toMatch(/queue +at most 99 requests with 262,144 prompt tokens/);
    expect(command.output).toMatch(/redis +not configured/);
    expect(command.output).toMatch(/docs +http:\/\/127\.0\.0\.1:\d+\/docs/);
    expect(command.output).not.toContain('secret-key');
    expect(command.output).not.toContain('\u001b');

    const line = command.output.split('\n').find((candidate) => candidate.startsWith('  curl '))!;
    const words = await shellWords(line.trim(), { CHAIRLIFT_API_KEY: 'secret-key' });
    const answer = await curl(words);
    expect(answer).toMatchObject({ object: 'chat.completion' });
  });
});

describe('signals', () => {
  it.each(['SIGTERM', 'SIGINT'] as const)('%s ends an idle server with exit code 0', async (signal) => {
    const command = run(simulated);
    await command.says('Ctrl-C stops it.');
    command.process.kill(signal);
    expect(await command.ended).toBe(0);
  });

  it('a second one ends at once although a request still runs', async () => {
    const command = run(simulated);
    await command.says('Ctrl-C stops it.');
    const url = command.output.match(/address +(\S+)/)![1]!;
    const body = { prompt: 'never ends', max_tokens: 2_000, ignore_eos: true, stream: true };
    const response = await fetch(`${url}/v1/completions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
    // Held on to: a body that is collected closes its connection, which ends the request.
    const reader = response.body!.getReader();
    await reader.read();
    command.process.kill('SIGTERM');
    await command.says('a second one ends at once');
    // Later than what counts as an echo of the first.
    await new Promise((resolve) => setTimeout(resolve, 400));
    expect(command.process.exitCode).toBeNull();
    command.process.kill('SIGTERM');
    expect(await command.ended).toBe(143);
    await reader.cancel().catch(() => {});
  });
});

describe('a start that fails', () => {
  it('because the port is taken says so in one line', async () => {
    const { port } = new URL(await serveForTest());
    const command = run(['--engine', 'sim', '--port', port, '--log-level', 'silent']);
    expect(await command.ended).toBe(1);
    expect(command.errors).toBe(
      `chairlift: 127.0.0.1:${port} is in use; stop the other server or choose another --port\n`,
    );
    expect(command.output).toBe('');
  });

  it.each([
    [['--model', '/nonexistent.gguf'], '/nonexistent.gguf does not exist'],
    [['--model', '/usr'], '/usr is a directory'],
    [['--offline', '--model', 'hf:a/b:Q8_0', '--model-cache', '/nonexistent'], 'hf:a/b:Q8_0 is not in'],
  ])('%j says so in one line', async (words, reason) => {
    const command = run(words);
    expect(await command.ended).toBe(1);
    expect(command.errors.trim().split('\n').at(-1)).toContain(`chairlift: ${reason}`);
    expect(command.errors).not.toMatch(/^\s+at /m);
  });
});

describe('wrong options', () => {
  it('end the process with code 2 before anything is loaded', async () => {
    const command = run(['--slots', '0']);
    expect(await command.ended).toBe(2);
    expect(command.errors).toBe(
      'chairlift: cannot use this option:\n' +
        '  --slots 0: must be a whole number from 1 to 256\n' +
        'chairlift serve --help lists every option.\n',
    );
  });
});
