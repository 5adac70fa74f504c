import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import OpenAI, { toFile } from 'openai';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { completionLine, jsonl, parseJsonl, scratchDirectory } from '../support/batch-files.js';
import { get } from '../support/http-client.js';
import { describeWithRedis, startRedis, type TestRedis } from '../support/redis-server.js';

const lineCount = 150;
const directory = scratchDirectory();
const children = new Set<ChildProcess>();
let redis: TestRedis;

interface Server {
  url: string;
  kill(): Promise<void>;
}

async function start(role: 'gateway' | 'worker'): Promise<Server> {
  const words = [
    ...[
      '--import',
      'tsx',
      'src/cli/chairlift.cts',
      'serve',
      '--role',
      role,
      '--engine',
      'sim',
      '--port',
      '0',
    ],
    ...['--slots', '4', '--context', '256', '--redis-url', redis.url, '--redis-lock-ms', '2000'],
    ...['--data-dir', directory, '--log-level', 'silent', '--batch-lines-in-flight', '16'],
  ];
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'inherit'] });
  children.add(child);
  let output = '';
  while (!/address +\S+/.test(output)) output += String((await once(child.stdout!, 'data'))[0]);
  return {
    url: output.match(/address +(\S+)/)![1]!,
    async kill() {
      child.kill('SIGKILL');
      await once(child, 'exit');
      children.delete(child);
    },
  };
}

const connect = ({ url }: Server) => new OpenAI({ baseURL: `${url}/v1`, apiKey: 'none', maxRetries: 0 });

async function reach(
  server: Server,
  id: string,
  enough: (batch: OpenAI.Batch) => boolean,
): Promise<OpenAI.Batch> {
  for (;;) {
    const batch = await connect(server).batches.retrieve(id);
    if (enough(batch)) return batch;
    await sleep(20);
  }
}

const answered = (count: number) => (batch: OpenAI.Batch) => batch.request_counts!.completed >= count;

describeWithRedis('batch jobs through Redis', () => {
  beforeAll(async () => {
    redis = await startRedis();
  });

  afterAll(async () => {
    for (const child of children) child.kill('SIGKILL');
    await redis.stop();
    rmSync(directory, { recursive: true });
  });

  test('workers share a job; killed workers and a killed gateway cost no line and double none', async () => {
    let [gateway, first, second] = await Promise.all([start('gateway'), start('worker'), start('worker')]);
    let status = 0;
    while (status !== 200) ({ status } = await get(`${gateway.url}/health`));
    const lines = Array.from({ length: lineCount }, (_, index) =>
      completionLine(`l-${index}`, { max_tokens: 6, ignore_eos: true }),
    );
    const client = connect(gateway);
    const file = await client.files.create({
      file: await toFile(Buffer.from(jsonl(lines)), 'in.jsonl'),
      purpose: 'batch',
    });
    const { id } = await client.batches.create({
      ...{ input_file_id: file.id, endpoint: '/v1/completions', completion_window: '24h' },
    });
    await reach(gateway, id, answered(20));
    for (const worker of [first, second]) {
      const { text } = await get(`${worker.url}/metrics`);
      expect(Number(text.match(/^chairlift_generation_tokens_total (\d+)/m)![1])).toBeGreaterThan(0);
    }
    await first.kill();
    await reach(gateway, id, answered(40));
    await gateway.kill();
    [gateway, first] = await Promise.all([start('gateway'), start('worker')]);
    const batch = await reach(gateway, id, ({ status }) => status === 'completed');
    expect(batch.request_counts).toEqual({ total: lineCount, completed: lineCount, failed: 0 });
    const output = parseJsonl(await (await connect(gateway).files.content(batch.output_file_id!)).text());
    expect(output.map(({ custom_id }) => custom_id)).toEqual(lines.map(({ custom_id }) => custom_id));
  }, 60_000);
});
