import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, describe, expect, test } from 'vitest';
import { BatchDisplay } from '../../src/cli/batch/batch-display.js';
import { runCommandLine } from '../../src/cli/program.js';
import {
  chatLine,
  completionLine,
  jsonl,
  parseJsonl,
  scratchDirectory,
  writeScratch,
} from '../support/batch-files.js';
import { startSimulatedServer } from '../support/simulated-server.js';
import { fakeTerminal } from './fake-terminal.js';

const directory = scratchDirectory();
const running = new Set<ChildProcess>();
let outputs = 0;

afterEach(() => {
  for (const child of running) child.kill('SIGKILL');
});
afterAll(() => rmSync(directory, { recursive: true }));

interface Run {
  child: ChildProcess;
  output: string;
  errors: string;
  exitCode: Promise<number | null>;
}

/** The real command in a process of its own. */
function start(words: string[], input = ''): Run {
  const command = ['--import', 'tsx', 'src/cli/chairlift.cts', 'batch', ...words];
  const child = spawn(process.execPath, command, { stdio: 'pipe' });
  running.add(child);
  const run: Run = {
    ...{ child, output: '', errors: '' },
    exitCode: once(child, 'close').then(([code]) => {
      running.delete(child);
      return code;
    }),
  };
  child.stdout.on('data', (text) => {
    run.output += text;
  });
  child.stderr.on('data', (text) => {
    run.errors += text;
  });
  child.stdin.end(input);
  return run;
}

const engine = ['--engine', 'sim', '--slots', '4'];

function newOutput(): string {
  outputs += 1;
  return join(directory, `output-${outputs}.jsonl`);
}

const readOutput = (path: string) => parseJsonl(readFileSync(path, 'utf8'));

describe('chairlift batch', () => {
  test('answers a file with its own engine, in order, and says which lines failed', async () => {
    const lines = [
      { prompt: 'a line without an envelope', max_tokens: 3 },
      chatLine('b'),
      chatLine('c', { temperature: -1 }),
      completionLine('d'),
    ];
    const path = newOutput();
    const run = start([writeScratch(directory, 'mixed.jsonl', jsonl(lines)), '-o', path, ...engine]);
    expect(await run.exitCode).toBe(3);
    const output = readOutput(path);
    expect(output.map(({ custom_id }) => custom_id)).toEqual(['line-1', 'b', 'c', 'd']);
    expect(output.map(({ response }) => response!.status_code)).toEqual([200, 200, 400, 200]);
    expect(run.errors).toMatch(/4\/4 lines · 1 failed · .* lines\/s · .* tok\/s · done in [\d.]+ s/);
    expect(existsSync(`${path}.partial`)).toBe(false);
    expect(run.output).toBe('');
  });

  test('reads standard input and writes standard output', async () => {
    const run = start(engine, jsonl([chatLine('a'), chatLine('b')]));
    expect(await run.exitCode).toBe(0);
    expect(parseJsonl(run.output).map(({ custom_id }) => custom_id)).toEqual(['a', 'b']);
  });

  test('killed and interrupted goes on where it was, each line answered once', async () => {
    const lines = Array.from({ length: 60 }, (_, index) => completionLine(`l-${index}`, { max_tokens: 8 }));
    const input = writeScratch(directory, 'long.jsonl', jsonl(lines));
    const path = newOutput();
    const words = [input, '-o', path, ...engine];
    const answered = () => {
      const names = existsSync(`${path}.partial`) ? readdirSync(`${path}.partial`) : [];
      const journals = names.filter((name) => name.startsWith('journal-'));
      return journals.flatMap((name) => readFileSync(join(`${path}.partial`, name), 'utf8').split('\n'))
        .length;
    };
    const killed = start(words);
    while (answered() < 8) await sleep(5);
    killed.child.kill('SIGKILL');
    await killed.exitCode;
    const before = answered();
    const interrupted = start(words);
    while (answered() < before + 8) await sleep(5);
    interrupted.child.kill('SIGINT');
    expect(await interrupted.exitCode).toBe(130);
    expect(interrupted.errors).toMatch(/going on: \d+ of 60 lines/);
    expect(interrupted.errors).toMatch(/SIGINT: \d+ of 60 lines are answered; run the same command again/);
    expect(existsSync(path)).toBe(false);
    const last = start(words);
    expect(await last.exitCode).toBe(0);
    expect(readOutput(path).map(({ custom_id }) => custom_id)).toEqual(
      lines.map(({ custom_id }) => custom_id),
    );
    const again = start(words);
    expect(await again.exitCode).toBe(1);
    expect(again.errors).toContain(`${path} exists`);
  });

  test('sends the rows of a CSV file to a server', async () => {
    const server = await startSimulatedServer({ slotCount: 2, maxWaiting: 1, apiKeys: ['key'] });
    try {
      const rows = ['id,prompt,max_tokens', 'x,"one, two",3', 'y,three,4', ...Array(5).fill(',more,2')];
      const input = writeScratch(directory, 'rows.csv', rows.join('\n'));
      const path = newOutput();
      // More at a time than the server takes: refusals for the moment are no answers.
      const words = [
        input,
        '-o',
        path,
        '--format',
        'csv',
        '--server',
        `${server.url}/v1`,
        '--api-key',
        'key',
      ];
      const run = start([...words, '--batch-lines-in-flight', '5']);
      expect(await run.exitCode).toBe(0);
      const output = readOutput(path);
      expect(output.slice(0, 3).map(({ custom_id }) => custom_id)).toEqual(['x', 'y', 'row-3']);
      expect(output).toHaveLength(7);
      expect(output.every(({ response }) => response!.status_code === 200)).toBe(true);
    } finally {
      await server.close();
    }
  });

  const inputs = {
    good: writeScratch(directory, 'good.jsonl', jsonl([chatLine('a')])),
    wrong: writeScratch(directory, 'wrong.jsonl', `${jsonl([chatLine('a')])}nonsense\n`),
    csv: writeScratch(directory, 'columns.csv', 'a,b\n1,2\n'),
  };

  test.each([
    [['/missing.jsonl'], /no such file or directory, open '\/missing\.jsonl'/, 1],
    [[inputs.csv, '--format', 'csv'], /there is no column "prompt"; the input has a, b/, 1],
    [[inputs.wrong], /line 2: This line is not parseable as valid JSON\./, 1],
    [
      [inputs.good, '--server', 'http://127.0.0.1:9'],
      /cannot reach http:\/\/127\.0\.0\.1:9: ECONNREFUSED/,
      1,
    ],
    [[inputs.good, '--format', 'xml'], /Allowed choices are jsonl, csv/, 2],
    [[inputs.good, '--slots', '0'], /--slots 0: must be a whole number/, 2],
    [[inputs.good, '--port', '1'], /--port: unknown option/, 2],
  ])('%j ends with one clear message', async (words, message, exitCode) => {
    const terminal = fakeTerminal();
    expect(await runCommandLine(['batch', ...words, '--engine', 'sim'], terminal)).toBe(exitCode);
    expect(terminal.errors).toMatch(message);
    expect(terminal.errors).not.toMatch(/^\s+at /m);
  });
});

test('the display knows rates of this run alone, and what is left', () => {
  let nowMs = 0;
  const progress = { answered: 50, failed: 0, completionTokens: 500 };
  const display = new BatchDisplay(fakeTerminal(), progress, 2050, () => nowMs);
  display.start();
  nowMs = 10_000;
  Object.assign(progress, { answered: 150, failed: 2, completionTokens: 2500 });
  expect(display.describe()).toBe('150/2,050 lines · 2 failed · 10.0 lines/s · 200 tok/s · 3:10 left');
  display.stop();
});
