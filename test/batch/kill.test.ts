import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, test } from 'vitest';
import { BatchStore } from '../../src/batch/batch-store.js';
import { FileStore } from '../../src/batch/file-store.js';
import { completionLine, jsonl, parseJsonl, scratchDirectory } from '../support/batch-files.js';
import { SeededRandom } from '../support/seeded-random.js';

const kills = 20;
const linesPerJob = 120;
const jobs = 6;
/** CHAIRLIFT_KILL_SEED repeats the moments, as far as a machine can. */
const seed = Number(process.env.CHAIRLIFT_KILL_SEED ?? Date.now() % 2 ** 32);
const directory = scratchDirectory();
const running = new Set<ChildProcess>();

afterAll(() => {
  for (const child of running) child.kill('SIGKILL');
  rmSync(directory, { recursive: true });
});

function loadProcess(): ChildProcess {
  const words = ['--import', 'tsx', 'test/support/batch-process.ts', directory];
  const child = spawn(process.execPath, words, { stdio: ['pipe', 'pipe', 'inherit'] });
  running.add(child);
  child.once('exit', () => running.delete(child));
  return child;
}

/** The next process loads while this one works, or the test would mostly wait for that. */
let loading = loadProcess();

async function startProcess(): Promise<ChildProcess> {
  const child = loading;
  loading = loadProcess();
  await once(child.stdout!, 'data');
  child.stdin!.write('go\n');
  await once(child.stdout!, 'data');
  return child;
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill('SIGKILL');
  await once(child, 'exit');
}

async function createJobs(files: FileStore, batches: BatchStore): Promise<string[]> {
  const ids: string[] = [];
  for (let job = 0; job < jobs; job += 1) {
    const lines = Array.from({ length: linesPerJob }, (_, line) =>
      completionLine(`job-${job}-line-${line}`, line % 40 === 7 ? { temperature: -1 } : {}),
    );
    const content = await files.receive(Readable.from([Buffer.from(jsonl(lines))]));
    const file = await files.keep(content, { tenant: 't', filename: 'in', expiresAfterSeconds: null });
    const batch = await batches.create('t', 'simulated', {
      ...{ endpoint: '/v1/completions', inputFileId: file.id, completionWindow: '24h' },
      ...{ windowSeconds: 86_400, metadata: null, outputExpiresAfterSeconds: null },
    });
    ids.push(batch.id);
  }
  return ids;
}

/** The lines that the journals of a job answer; a torn one answers none. */
function journalLines(jobDirectory: string): number[] {
  return readdirSync(jobDirectory)
    .filter((name) => name.startsWith('journal-'))
    .flatMap((name) => readFileSync(join(jobDirectory, name), 'utf8').split('\n').slice(0, -1))
    .map((line) => JSON.parse(line).line);
}

test(`${kills} kills at random moments: every line is answered exactly once (seed ${seed})`, async () => {
  const random = new SeededRandom(seed);
  const files = new FileStore(join(directory, 'files'), { fileBytes: 1e9, totalBytes: 1e9 });
  const batches = new BatchStore(join(directory, 'batches'));
  const ids = await createJobs(files, batches);
  const countLines = () => ids.flatMap((id) => journalLines(batches.directoryOf(id))).length;
  let answeredBefore = 0;
  let usefulRuns = 0;
  for (let count = 0; count < kills; count += 1) {
    const child = await startProcess();
    // Every other process dies while it answers, however slow the machine; the others at any time, also while they start.
    const linesBefore = countLines();
    const answers = async () => countLines() > linesBefore || (await batches.unfinished()).length === 0;
    while (count % 2 === 0 && !(await answers())) await sleep(5);
    await sleep(random.below(count % 2 === 0 ? 50 : 200));
    await kill(child);
    let answered = 0;
    for (const id of ids) {
      const lines = journalLines(batches.directoryOf(id));
      // What is answered once is never computed again.
      expect(new Set(lines).size).toBe(lines.length);
      answered += (await batches.find(id, 't')).status === 'completed' ? linesPerJob : lines.length;
    }
    if (answered > answeredBefore) usefulRuns += 1;
    answeredBefore = answered;
  }
  // Kills that hit nothing would prove nothing.
  expect(usefulRuns).toBeGreaterThan(kills / 4);
  const last = await startProcess();
  while ((await batches.unfinished()).length > 0) await sleep(20);
  await kill(last);
  for (const [job, id] of ids.entries()) {
    const { status, request_counts, output_file_id, error_file_id } = await batches.find(id, 't');
    const failed = Math.ceil((linesPerJob - 7) / 40);
    expect(status).toBe('completed');
    expect(request_counts).toEqual({ total: linesPerJob, completed: linesPerJob - failed, failed });
    const read = (file: string | null) => parseJsonl(readFileSync(files.contentPath(file!), 'utf8'));
    const answered = [...read(output_file_id), ...read(error_file_id)].map(({ custom_id }) => custom_id);
    const expected = Array.from({ length: linesPerJob }, (_, line) => `job-${job}-line-${line}`);
    expect(answered.sort()).toEqual(expected.sort());
  }
}, 90_000);
