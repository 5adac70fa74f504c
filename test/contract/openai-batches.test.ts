import OpenAI, { APIError, toFile } from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { RunningServer } from '../../src/main.js';
import { chatLine, completionLine, jsonl, parseJsonl } from '../support/batch-files.js';
import { collect } from '../support/collect.js';
import { get } from '../support/http-client.js';
import { startWholeServer } from '../support/whole-server.js';

type Batch = OpenAI.Batch;
const chat = '/v1/chat/completions';
const [firstKey, secondKey] = ['first-key', 'second-key'];

let server: RunningServer;
let client: OpenAI;
let stranger: OpenAI;

beforeAll(async () => {
  server = await startWholeServer('simulated', {
    apiKeys: [firstKey, secondKey],
    maxBatchLines: 100,
    maxBatchFileBytes: 100_000,
    maxBodyBytes: 10_000,
  });
  const connect = (apiKey: string) => new OpenAI({ baseURL: `${server.url}/v1`, apiKey, maxRetries: 0 });
  client = connect(firstKey);
  stranger = connect(secondKey);
});

afterAll(() => server.close());

async function upload(text: string, more: object = {}) {
  return client.files.create({
    file: await toFile(Buffer.from(text), 'input.jsonl'),
    purpose: 'batch',
    ...more,
  });
}

async function start(text: string, more: object = {}): Promise<Batch> {
  const { id } = await upload(text);
  const body = { input_file_id: id, endpoint: chat, completion_window: '24h', ...more };
  return client.batches.create(body as OpenAI.BatchCreateParams);
}

async function ended({ id }: Batch): Promise<Batch> {
  for (;;) {
    const batch = await client.batches.retrieve(id);
    if (['completed', 'failed', 'expired', 'cancelled'].includes(batch.status)) return batch;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function linesOf(fileId: string) {
  return parseJsonl(await (await client.files.content(fileId)).text());
}

async function refusal(promise: Promise<unknown>): Promise<APIError> {
  const error = await promise.then(
    () => null,
    (reason) => reason,
  );
  expect(error).toBeInstanceOf(APIError);
  return error as APIError;
}

describe('files', () => {
  test('are kept, listed page by page, read back and deleted', async () => {
    const text = jsonl([chatLine('a')]);
    const file = await upload(text);
    expect(file).toMatchObject({
      object: 'file',
      purpose: 'batch',
      filename: 'input.jsonl',
      status: 'processed',
    });
    expect(file.bytes).toBe(Buffer.byteLength(text));
    expect(await client.files.retrieve(file.id)).toEqual(file);
    expect(await (await client.files.content(file.id)).text()).toBe(text);
    const second = await upload(text);
    const newestFirst = await collect(client.files.list({ limit: 1 }));
    expect(newestFirst.slice(0, 2)).toEqual([second, file]);
    const oldestFirst = await collect(client.files.list({ limit: 1, order: 'asc', purpose: 'batch' }));
    expect(oldestFirst).toEqual([...newestFirst].reverse());
    expect(await client.files.delete(file.id)).toEqual({ id: file.id, object: 'file', deleted: true });
    expect((await refusal(client.files.retrieve(file.id))).status).toBe(404);
    expect((await refusal(client.files.content(file.id))).status).toBe(404);
  });

  test('belong to the key that brought them', async () => {
    const file = await upload(jsonl([chatLine('a')]));
    expect((await refusal(stranger.files.retrieve(file.id))).status).toBe(404);
    expect((await refusal(stranger.files.delete(file.id))).status).toBe(404);
    expect(await collect(stranger.files.list())).toEqual([]);
  });

  test('may expire', async () => {
    const file = await upload('{}', { expires_after: { anchor: 'created_at', seconds: 3600 } });
    expect(file.expires_at).toBe(file.created_at + 3600);
  });

  test('that are too large, of another purpose or no files at all are refused and leave nothing', async () => {
    const before = (await collect(client.files.list())).length;
    const large = await refusal(upload('x'.repeat(100_001)));
    expect([large.status, large.param]).toEqual([413, 'file']);
    expect(large.message).toContain('at most 100000 bytes');
    expect((await refusal(upload('{}', { purpose: 'fine-tune' }))).param).toBe('purpose');
    const form = new FormData();
    form.set('file', new Blob(['{}']), 'input.jsonl');
    const post = (body: FormData | string) =>
      fetch(`${server.url}/v1/files`, {
        method: 'POST',
        headers: { authorization: `Bearer ${firstKey}` },
        body,
      });
    expect(await (await post(form)).json()).toMatchObject({ error: { param: 'purpose' } });
    expect((await post('text')).status).toBe(415);
    expect((await refusal(client.files.retrieve('../batches'))).status).toBe(404);
    expect((await collect(client.files.list())).length).toBe(before);
  });
});

describe('batches', () => {
  test('answer every line once, refusals in a file of their own', async () => {
    const lines = [
      ...Array.from({ length: 20 }, (_, index) => chatLine(`good-${index}`)),
      chatLine('bad', { temperature: -1 }),
      chatLine('streamed', { stream: true }),
    ];
    const created = await start(jsonl(lines), { metadata: { project: 'test' } });
    expect(created).toMatchObject({ object: 'batch', status: 'validating', metadata: { project: 'test' } });
    expect(created.expires_at).toBe(created.created_at + 86_400);
    const batch = await ended(created);
    expect(batch.status).toBe('completed');
    expect(batch.request_counts).toEqual({ total: 22, completed: 20, failed: 2 });
    const times = [batch.created_at, batch.in_progress_at!, batch.finalizing_at!, batch.completed_at!];
    expect(times).toEqual([...times].sort((a, b) => a - b));
    const output = await linesOf(batch.output_file_id!);
    expect(output.map((line) => line.custom_id)).toEqual(lines.slice(0, 20).map((line) => line.custom_id));
    for (const { response, error } of output) {
      expect(error).toBeNull();
      expect(response).toMatchObject({ status_code: 200, body: { object: 'chat.completion' } });
    }
    const tokens = output.map(
      ({ response }) => (response!.body.usage as OpenAI.CompletionUsage).total_tokens,
    );
    expect(batch.usage!.total_tokens).toBe(tokens.reduce((sum, count) => sum + count, 0));
    const errors = await linesOf(batch.error_file_id!);
    expect(errors.map(({ custom_id }) => custom_id)).toEqual(['bad', 'streamed']);
    expect(errors[0]!.response).toMatchObject({
      status_code: 400,
      body: { error: { param: 'temperature' } },
    });
    expect(errors[1]!.response).toMatchObject({ status_code: 400, body: { error: { param: 'stream' } } });
    expect(await client.files.retrieve(batch.output_file_id!)).toMatchObject({ purpose: 'batch_output' });
  });

  test('also take completions', async () => {
    const batch = await ended(await start(jsonl([completionLine('c')]), { endpoint: '/v1/completions' }));
    const [line] = await linesOf(batch.output_file_id!);
    expect(line!.response!.body.object).toBe('text_completion');
    expect(batch.error_file_id).toBeNull();
  });

  test('whose file is wrong fail, with the numbers of the lines', async () => {
    const text = [
      JSON.stringify(chatLine('a')),
      '',
      '{"not json',
      JSON.stringify(chatLine('a')),
      JSON.stringify({ ...chatLine('b'), url: '/v1/embeddings' }),
      JSON.stringify(completionLine('c')),
      JSON.stringify({ ...chatLine('d'), method: 'GET' }),
      JSON.stringify({ ...chatLine('e'), custom_id: undefined }),
      JSON.stringify({ ...chatLine('f'), body: 'text' }),
      JSON.stringify(chatLine('g', { user: 'x'.repeat(10_000) })),
    ].join('\r\n');
    const batch = await ended(await start(text));
    expect(batch.status).toBe('failed');
    expect(batch.failed_at).toBeGreaterThanOrEqual(batch.created_at);
    expect(batch.errors!.data!.map(({ line, code }) => [line, code])).toEqual([
      [3, 'invalid_json_line'],
      [4, 'duplicate_custom_id'],
      [5, 'invalid_url'],
      [6, 'mismatched_url'],
      [7, 'invalid_method'],
      [8, 'missing_required_parameter'],
      [9, 'invalid_value'],
      [10, 'line_too_long'],
    ]);
    expect(batch.errors!.data![1]!.message).toContain('the one of line 1');
  });

  test('of nothing, or of too many lines, fail', async () => {
    const empty = await ended(await start('\n'));
    expect(empty.errors!.data).toMatchObject([{ code: 'empty_file', line: null }]);
    const many = await ended(
      await start(jsonl(Array.from({ length: 101 }, (_, index) => chatLine(`${index}`)))),
    );
    expect(many.errors!.data).toMatchObject([{ code: 'too_many_lines', line: 101 }]);
    expect(many.errors!.data![0]!.message).toContain('at most 100');
  });

  test('show progress, and keep what was answered when they are cancelled', async () => {
    const long = Array.from({ length: 60 }, (_, index) =>
      chatLine(`line-${index}`, { max_tokens: 150, ignore_eos: true }),
    );
    const created = await start(jsonl(long));
    const inUse = await refusal(client.files.delete(created.input_file_id));
    expect(inUse.message).toContain(`is the input of ${created.id}`);
    let batch = created;
    while (batch.request_counts!.completed === 0) {
      await new Promise((resolve) => setTimeout(resolve, 20));
      batch = await client.batches.retrieve(created.id);
    }
    expect(batch.status).toBe('in_progress');
    expect((await client.batches.cancel(created.id)).status).toBe('cancelling');
    batch = await ended(created);
    expect(batch.status).toBe('cancelled');
    const { completed } = batch.request_counts!;
    expect(completed).toBeGreaterThan(0);
    expect(completed).toBeLessThan(60);
    const output = await linesOf(batch.output_file_id!);
    const errors = await linesOf(batch.error_file_id!);
    expect(output).toHaveLength(completed);
    expect(new Set([...output, ...errors].map(({ custom_id }) => custom_id)).size).toBe(60);
    expect(errors.every(({ error }) => error?.code === 'batch_cancelled')).toBe(true);
    expect((await refusal(client.batches.cancel(created.id))).message).toContain("status 'cancelled'");
    // What was in the tick under way leaves with it.
    await expect.poll(() => server.core.stats().running + server.core.stats().waiting).toBe(0);
  });

  test('expire when their window closes', async () => {
    const long = Array.from({ length: 40 }, (_, index) =>
      chatLine(`line-${index}`, { max_tokens: 150, ignore_eos: true }),
    );
    const batch = await ended(await start(jsonl(long), { completion_window: '1s' }));
    expect(batch.status).toBe('expired');
    expect(batch.expired_at).toBeGreaterThanOrEqual(batch.expires_at!);
    const errors = await linesOf(batch.error_file_id!);
    expect(errors[0]!.error!.code).toBe('batch_expired');
    expect(errors.length + batch.request_counts!.completed).toBe(40);
  });

  test('are listed newest first, page by page, and belong to their key', async () => {
    const ids = (await collect(client.batches.list({ limit: 2 }))).map(({ id }) => id);
    expect(ids.length).toBeGreaterThan(4);
    expect(ids).toEqual([...ids].sort().reverse());
    expect(await collect(stranger.batches.list())).toEqual([]);
    expect((await refusal(stranger.batches.retrieve(ids[0]!))).status).toBe(404);
    expect((await refusal(stranger.batches.cancel(ids[0]!))).status).toBe(404);
  });

  test.each([
    [{ endpoint: '/v1/embeddings' }, 'endpoint'],
    [{ completion_window: 'soon' }, 'completion_window'],
    [{ completion_window: null }, 'completion_window'],
    [{ input_file_id: null }, 'input_file_id'],
    [{ input_file_id: 'file-0' }, 'file_id'],
    [{ metadata: { key: 5 } }, 'metadata.key'],
    [{ output_expires_after: { anchor: 'created_at', seconds: 5 } }, 'output_expires_after.seconds'],
  ])('with %j are refused', async (fields, param) => {
    expect((await refusal(start(jsonl([chatLine('a')]), fields))).param).toBe(param);
  });

  test('are counted in the metrics', async () => {
    const { text } = await get(`${server.url}/metrics`, { authorization: `Bearer ${firstKey}` });
    expect(text).toMatch(/chairlift_batch_jobs_total\{status="cancelled"\} 1\n/);
    expect(text).toMatch(/chairlift_batch_lines_total\{outcome="failed"\} 2\n/);
    expect(text).toMatch(/chairlift_batch_jobs_running 0\n/);
  });
});
