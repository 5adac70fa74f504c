/**
 * Lines per second of `chairlift batch` with its own engine against a loop of clients that sends the same lines to
 * llama-server. Wants a quiet machine.
 *
 *   npm run bench:batch -- [--lines 2000] [--rounds 1] [--model FILE.gguf] [--seed NAME] [--out FILE.json]
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { isMain } from './is-main.js';
import { fetchPlain } from './load/endpoint.js';
import { drawWords } from './load/prompts.js';
import { Random } from './load/random.js';
import { commonWords } from './load/words.js';
import { preparePeers } from './peers/prepare.js';
import { commandLine, freePort, ServerProcess } from './peers/server-process.js';
import { peerSpecs, type StartCommand } from './peers/specs.js';
import { findModel } from './peers.js';
import { type BatchLines, type BatchLinesRun, batchLinesSection } from './report/batch-lines.js';
import { batchLinesFile, newestResultsFile, readResults, writeReport } from './report/files.js';
import { machineInfo } from './report/machine.js';

const [sharedWords, ownWords, outputTokens, clients] = [200, 16, 12, 32];
const profileOf = (modelPath: string) => ({ modelPath, slots: 32, contextTokens: 1024, threads: 2 });
type Profile = ReturnType<typeof profileOf>;
const timeoutMs = 600_000;
const mostAttempts = 3;
const path = '/v1/completions';

interface Line {
  custom_id: string;
  method: 'POST';
  url: typeof path;
  body: object;
}

/** One word is one token in nearly every vocabulary. The lengths of answers are fixed, so that both do the same work. */
function drawLines(count: number, seed: string): Line[] {
  const random = new Random(seed);
  const shared = drawWords(sharedWords, commonWords, random);
  return Array.from({ length: count }, (_, index) => ({
    custom_id: `line-${index}`,
    method: 'POST',
    url: path,
    body: {
      prompt: `The ${shared} ${drawWords(ownWords, commonWords, random)}`,
      ...{ max_tokens: outputTokens, temperature: 0, ignore_eos: true },
    },
  }));
}

type Timed = Pick<BatchLinesRun, 'seconds' | 'generatedTokens' | 'failedLines'>;

/** With its own defaults: what users get. */
function batchCommand({ modelPath, threads }: Profile, input: string, output: string): StartCommand {
  const command = ['dist/src/cli/chairlift.cjs', 'batch', input, '-o', output];
  const options = ['--model', modelPath, '--threads', `${threads}`, '--log-level', 'warn'];
  return { command: process.execPath, args: [...command, ...options] };
}

/** The command shows its progress itself; from its last line comes how long answering took, without the model's loading. */
async function timeBatch({ command, args }: StartCommand, output: string): Promise<Timed> {
  const child = spawn(command, args, { stdio: ['ignore', 'inherit', 'pipe'] });
  let shown = '';
  child.stderr.on('data', (text: Buffer) => {
    process.stderr.write(text);
    shown = (shown + text.toString()).slice(-2000);
  });
  const [exitCode] = await once(child, 'close');
  const seconds = Number(shown.match(/done in ([\d.]+) s/)?.[1]);
  if (![0, 3].includes(exitCode) || !Number.isFinite(seconds))
    throw new Error(`chairlift batch ended with ${exitCode}`);
  const answers = readFileSync(output, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line).response);
  return { seconds, ...tally(answers.map(({ status_code, body }) => ({ status: status_code, body }))) };
}

interface Answer {
  status: number;
  body: { usage?: { completion_tokens?: number } };
}

function tally(answers: readonly Answer[]) {
  return {
    generatedTokens: answers.reduce((sum, { body }) => sum + (body.usage?.completion_tokens ?? 0), 0),
    failedLines: answers.filter(({ status }) => status !== 200).length,
  };
}

/** Whole replies, not streams: the least work for the server. */
async function timeLoop(server: ServerProcess, lines: readonly Line[]): Promise<Timed> {
  const answers: Answer[] = [];
  const startedMs = performance.now();
  let next = 0;
  const timer = setInterval(() => {
    const seconds = (performance.now() - startedMs) / 1000;
    const rate = (answers.length / seconds).toFixed(1);
    process.stderr.write(`llama-server: ${answers.length}/${lines.length} lines · ${rate} lines/s\n`);
  }, 10_000);
  const client = async () => {
    for (let line = lines[next++]; line; line = lines[next++]) {
      answers.push(await ask(server, line));
    }
  };
  await Promise.all(Array.from({ length: clients }, client)).finally(() => clearInterval(timer));
  return { seconds: (performance.now() - startedMs) / 1000, ...tally(answers) };
}

/** llama-server closes idle connections; a request that meets that is sent again, as any client would. */
async function ask(server: ServerProcess, line: Line, attempt = 1): Promise<Answer> {
  try {
    const reply = await fetchPlain(server.target.endpoint, 'POST', path, line.body, timeoutMs);
    return { status: reply.status, body: JSON.parse(reply.text) };
  } catch (error) {
    if (attempt >= mostAttempts || !server.isAlive) throw error;
    return ask(server, line, attempt + 1);
  }
}

async function measure(
  modelPath: string,
  lines: readonly Line[],
  rounds: number,
): Promise<Pick<BatchLines, 'runs' | 'commands'>> {
  const profile = profileOf(modelPath);
  const binaries = await preparePeers((line) => process.stderr.write(`${line}\n`));
  const folder = mkdtempSync(join(tmpdir(), 'chairlift-batch-lines-'));
  const input = join(folder, 'lines.jsonl');
  writeFileSync(input, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
  const llamaServer = peerSpecs.find(({ name }) => name === 'llama-server')!;
  const runs: BatchLinesRun[] = [];
  const commands = new Set<string>();
  const note = (round: number, subject: BatchLinesRun['subject'], timed: Timed) =>
    runs.push({ round, subject, linesPerSecond: lines.length / timed.seconds, ...timed });
  const runBatch = async (round: number) => {
    const output = join(folder, `answers-${round}.jsonl`);
    const command = batchCommand(profile, input, output);
    commands.add(commandLine(batchCommand(profile, 'lines.jsonl', 'answers.jsonl'), 0));
    note(round, 'chairlift batch', await timeBatch(command, output));
  };
  const runLoop = async (round: number) => {
    const port = await freePort();
    const command = llamaServer.start(profile, port, binaries);
    commands.add(commandLine(command, port));
    const server = await ServerProcess.start('llama-server', command, port);
    try {
      note(round, 'llama-server', await timeLoop(server, lines));
    } finally {
      await server.stop();
    }
  };
  try {
    for (let round = 1; round <= rounds; round += 1) {
      // A B, B A, A B: what drifts, drifts for both.
      const order = round % 2 === 1 ? [runBatch, runLoop] : [runLoop, runBatch];
      for (const run of order) await run(round);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
  return { runs, commands: [...commands] };
}

async function main(argv: string[]): Promise<void> {
  const { values } = parseArgs({
    args: argv,
    options: {
      lines: { type: 'string', default: '2000' },
      rounds: { type: 'string', default: '1' },
      model: { type: 'string' },
      seed: { type: 'string', default: 'batch-lines' },
      out: { type: 'string', default: batchLinesFile },
    },
  });
  const modelPath = findModel(values.model);
  const { slots, threads } = profileOf(modelPath);
  const lines = drawLines(Number(values.lines), values.seed);
  const results: BatchLines = {
    model: basename(modelPath),
    machine: machineInfo(),
    measuredAt: new Date().toISOString(),
    ...{ lines: lines.length, seed: values.seed, slots, threads, clients },
    ...{ sharedWords, ownWords, outputTokens },
    ...(await measure(modelPath, lines, Number(values.rounds))),
  };
  mkdirSync(dirname(values.out), { recursive: true });
  const round = (_: string, value: unknown) =>
    typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(5)) : value;
  writeFileSync(values.out, `${JSON.stringify(results, round, 1)}\n`);
  process.stdout.write(`${batchLinesSection(results).join('\n')}\nWrote ${values.out}\n`);
  const newest = newestResultsFile();
  if (resolve(values.out) !== batchLinesFile || !newest) return;
  for (const written of writeReport(newest, readResults(newest))) process.stdout.write(`Wrote ${written}\n`);
}

if (isMain(import.meta.url)) await main(process.argv.slice(2));
