import { connect } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { BatchKeeper } from '../../src/batch/batch-keeper.js';
import { addFileRoutes } from '../../src/batch/file-routes.js';
import { createHttpServer } from '../../src/http/server.js';
import { ServiceMetrics } from '../../src/metrics/service-metrics.js';
import { scratchDirectory } from '../support/batch-files.js';
import { anyWaitMs } from '../support/http-test-server.js';
import { ScriptedCore } from '../support/scripted-core.js';

const limitMs = 300;
const pauseMs = 100;
const pieces = 10;

let port: number;
let close: () => Promise<unknown>;

beforeAll(async () => {
  const core = new ScriptedCore();
  const metrics = new ServiceMetrics();
  const http = { apiKeys: [], maxBodyBytes: 100_000, requestTimeoutMs: 30_000, queueTimeoutMs: 30_000 };
  const config = {
    ...{
      ...http,
      maxWaiting: 64,
      maxWaitMs: anyWaitMs,
      dataDirectory: scratchDirectory(),
      maxDataBytes: 1e9,
    },
    ...{ maxBatchFileBytes: 1e9, maxBatchLines: 1000, batchLinesInFlight: null },
  };
  const onFault = () => {};
  const keeper = new BatchKeeper({
    ...{ config, core, registry: metrics.registry, onFault, slotCount: () => 4 },
  });
  const server = createHttpServer({
    ...{ core, config, metrics, receiveLimits: { wholeMs: limitMs, stallMs: limitMs } },
    addMoreRoutes: (scope) => addFileRoutes(scope, keeper),
  });
  await server.listen({ host: '127.0.0.1', port: 0 });
  port = (server.server.address() as { port: number }).port;
  close = () => server.close();
});
afterAll(() => close());

const form = ['--x', 'content-disposition: form-data; name="purpose"', '', 'batch', '--x'];
const file = ['content-disposition: form-data; name="file"; filename="a.jsonl"', '', ''];
const head = [...form, ...file].join('\r\n');
const line = `${'x'.repeat(99)}\n`;
const tail = '\r\n--x--\r\n';

/** Sends a head, then one piece after another with a pause before each. @returns all of the reply */
async function trickle(path: string, type: string, first: string, parts: readonly string[], bytes: number) {
  const socket = connect(port, '127.0.0.1');
  let reply = '';
  socket.setEncoding('utf8').on('data', (text) => {
    reply += text;
  });
  socket.on('error', () => {});
  const ended = new Promise((resolve) => socket.once('close', resolve));
  const headers = ['host: x', `content-type: ${type}`, `content-length: ${bytes}`, 'connection: close'];
  socket.write(`POST ${path} HTTP/1.1\r\n${headers.join('\r\n')}\r\n\r\n${first}`);
  for (const part of parts) {
    await sleep(pauseMs);
    if (socket.writable) socket.write(part);
  }
  await ended;
  return reply;
}

const upload = (parts: readonly string[]) => {
  const bytes = head.length + pieces * line.length + tail.length;
  return trickle('/v1/files', 'multipart/form-data; boundary=x', head, parts, bytes);
};
const all = [...Array.from({ length: pieces }, () => line), tail];

describe('what arrives slowly', () => {
  test('an upload may take as long as it likes while bytes flow', async () => {
    const reply = await upload(all);
    expect(reply).toMatch(/^HTTP\/1.1 200/);
    expect(JSON.parse(reply.split('\r\n\r\n')[1]!)).toMatchObject({
      object: 'file',
      bytes: pieces * line.length,
    });
  });

  test('an upload that stalls is cut off', async () => {
    const reply = await upload(all.slice(0, 3));
    expect(reply).toMatch(/^HTTP\/1.1 408/);
  });

  test('any other request has its time as a whole', async () => {
    const reply = await trickle('/v1/completions', 'application/json', '{', Array(12).fill(' '), 1000);
    expect(reply).toMatch(/^HTTP\/1.1 408/);
  });
});
