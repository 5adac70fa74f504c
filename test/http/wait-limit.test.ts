import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { errorOf, get, post, type TestReply } from '../support/http-client.js';
import type { ServingServer } from '../support/serving-server.js';
import { startSimulatedServer } from '../support/simulated-server.js';

const slotCount = 4;
const burst = 24;
const maxWaitMs = { interactive: 1, standard: 1, batch: 0 };

let server: ServingServer;
let refusedBefore: number;

beforeAll(async () => {
  const cost = { perPassMs: 2, perTokenMs: 0, perContextTokenMs: 0 };
  server = await startSimulatedServer({ slotCount, cost, maxWaitMs });
  // It learns how soon slots come free.
  refusedBefore = count(await sendMany(20), 429);
});

afterAll(() => server.close());

const send = (tokens: number, fields: object = {}): Promise<TestReply> =>
  post(`${server.url}/v1/completions`, { prompt: 'abcd', max_tokens: tokens, ignore_eos: true, ...fields });

const sendMany = (tokens: number, fields: object = {}) =>
  Promise.all(Array.from({ length: burst }, () => send(tokens, fields)));

const count = (replies: readonly TestReply[], status: number) =>
  replies.filter((reply) => reply.status === status).length;

describe('requests that would wait too long', () => {
  test('are told at once, how long it is and when to come back, and the others are served', async () => {
    const replies = await sendMany(300);
    const refused = replies.filter(({ status }) => status === 429);
    expect(count(replies, 200) + refused.length).toBe(burst);
    expect(count(replies, 200)).toBeGreaterThan(slotCount);
    expect(refused.length).toBeGreaterThan(0);
    for (const reply of refused) {
      expect(errorOf(reply)).toMatchObject({ code: 'wait_too_long', type: 'rate_limit_error', param: null });
      expect(errorOf(reply).message).toMatch(
        /^the estimated wait for a slot is \d+ ms, the limit for class interactive is 1 ms \(--max-wait-ms\)$/,
      );
      expect(Number(reply.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
    }
    const metrics = await get(`${server.url}/metrics`);
    const [, counted] = /_rejections_total\{reason="wait_too_long"\} (\d+)/.exec(metrics.text)!;
    expect(Number(counted)).toBe(refusedBefore + refused.length);
  });

  test('of a class without a limit wait', async () => {
    expect(count(await sendMany(20, { service_tier: 'flex' }), 200)).toBe(burst);
  });

  test('are taken again by a server that has nothing to do', async () => {
    const replies = await Promise.all(Array.from({ length: slotCount }, () => send(5)));
    expect(count(replies, 200)).toBe(slotCount);
  });
});
