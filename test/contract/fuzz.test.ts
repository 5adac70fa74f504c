import { Agent, request } from 'node:http';
import { describe, expect, test } from 'vitest';
import { type FuzzedRequest, fuzzedRequest } from '../support/body-mutator.js';
import { until } from '../support/http-client.js';
import { SeededRandom } from '../support/seeded-random.js';
import type { ServingServer } from '../support/serving-server.js';
import { startSimulatedServer } from '../support/simulated-server.js';
import { startTinyServer } from '../support/tiny-server.js';

/** Requests in flight at a time. */
const lanes = 32;
/** CHAIRLIFT_FUZZ_SEED repeats a run. */
const seed = Number(process.env.CHAIRLIFT_FUZZ_SEED ?? Date.now() % 2 ** 32);

interface Outcome {
  status: number;
  text: string;
}

/** node:http, because fetch costs more than the server under test. */
function send(
  agent: Agent,
  port: number,
  { path, body }: FuzzedRequest,
  leaveEarly: boolean,
): Promise<Outcome | null> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { port, path, method: 'POST', agent, headers: { 'content-type': 'application/json' } },
      (reply) => {
        let text = '';
        reply.setEncoding('utf8');
        reply.on('data', (data) => {
          text += data;
          if (leaveEarly) reply.destroy();
        });
        reply.on('end', () => resolve({ status: reply.statusCode!, text }));
        // A promise settles once: after `end` this changes nothing.
        reply.on('close', () =>
          leaveEarly ? resolve(null) : reject(new Error(`cut off: ${body.slice(0, 300)}`)),
        );
        reply.on('error', () => {});
      },
    );
    outgoing.on('error', (error) => reject(new Error(`${error.message}: ${body.slice(0, 300)}`)));
    outgoing.end(body);
  });
}

function judge(outcome: Outcome, body: string): void {
  const context = `seed ${seed}, ${outcome.status} ${outcome.text.slice(0, 300)} for ${body.slice(0, 300)}`;
  if (outcome.status >= 500) throw new Error(`${context}`);
  if (outcome.status === 200) return;
  const { error } = JSON.parse(outcome.text);
  if (Object.keys(error).sort().join() !== 'code,message,param,type') throw new Error(context);
  if (typeof error.message !== 'string' || error.message.length > 1000) throw new Error(context);
}

/** Sends `count` mutilated bodies. @returns how often each status came back */
async function bombard(server: ServingServer, count: number): Promise<Map<number, number>> {
  const random = new SeededRandom(seed);
  const agent = new Agent({ keepAlive: true, maxSockets: lanes });
  const statuses = new Map<number, number>();
  let sent = 0;
  async function lane(): Promise<void> {
    while (sent < count) {
      sent += 1;
      const fuzzed = fuzzedRequest(random);
      const outcome = await send(agent, server.port, fuzzed, random.below(20) === 0);
      if (outcome === null) continue;
      judge(outcome, fuzzed.body);
      statuses.set(outcome.status, (statuses.get(outcome.status) ?? 0) + 1);
    }
  }
  await Promise.all(Array.from({ length: lanes }, lane));
  agent.destroy();
  return statuses;
}

const limits = { contextTokens: 256, maxWaiting: 256 };
const slotCount = 16;

describe.each([
  ['the simulated engine', 10_000, () => startSimulatedServer({ slotCount, ...limits })],
  ['the native engine', 1500, () => startTinyServer({ slotCount, ...limits })],
] as const)('over %s', (_name, count, start) => {
  test(`${count} mutilated bodies (seed ${seed}) cause no 5xx, no leaked slot, no crash`, async () => {
    const server = await start();
    try {
      const statuses = await bombard(server, count);
      await until(() => server.core.stats().running + server.core.stats().waiting === 0);
      expect(server.core.state).toBe('ready');
      // A fuzzer that is only ever refused at the door tests the door alone.
      expect(statuses.get(200)).toBeGreaterThan(count / 10);
      expect(statuses.get(400)).toBeGreaterThan(count / 4);
    } finally {
      expect(server.faults).toEqual([]);
      await server.close();
    }
  }, 60_000);
});
