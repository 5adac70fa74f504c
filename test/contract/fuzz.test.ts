import { Agent, request } from 'node:http';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { fuzzedRequest } from '../support/body-mutator.js';
import { until } from '../support/http-client.js';
import { SeededRandom } from '../support/seeded-random.js';
import { type SimulatedServer, startSimulatedServer } from '../support/simulated-server.js';

/** Bodies sent; CHAIRLIFT_FUZZ_SEED repeats a run. */
const bodyCount = 10_000;
const lanes = 32;
const seed = Number(process.env.CHAIRLIFT_FUZZ_SEED ?? Date.now() % 2 ** 32);

let server: SimulatedServer;
const agent = new Agent({ keepAlive: true, maxSockets: lanes });

beforeAll(async () => {
  server = await startSimulatedServer({ slotCount: 16, contextTokens: 256, maxWaiting: 256 });
});

afterAll(async () => {
  agent.destroy();
  await server.close();
});

interface Outcome {
  status: number;
  text: string;
}

/** node:http, because fetch costs more than the server under test. */
function send(path: string, body: string, leaveEarly: boolean): Promise<Outcome | null> {
  return new Promise((resolve, reject) => {
    const outgoing = request(
      { port: server.port, path, method: 'POST', agent, headers: { 'content-type': 'application/json' } },
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
  if (outcome.status >= 500) throw new Error(`${context}; faults: ${server.faults}`);
  if (outcome.status === 200) return;
  const { error } = JSON.parse(outcome.text);
  if (Object.keys(error).sort().join() !== 'code,message,param,type') throw new Error(context);
  if (typeof error.message !== 'string' || error.message.length > 1000) throw new Error(context);
}

test(`${bodyCount} mutilated bodies (seed ${seed}) never cause a 5xx, a leaked slot or a crash`, async () => {
  const random = new SeededRandom(seed);
  const statuses = new Map<number, number>();
  let sent = 0;
  async function lane(): Promise<void> {
    while (sent < bodyCount) {
      sent += 1;
      const { path, body } = fuzzedRequest(random);
      const outcome = await send(path, body, random.below(20) === 0);
      if (outcome === null) continue;
      judge(outcome, body);
      statuses.set(outcome.status, (statuses.get(outcome.status) ?? 0) + 1);
    }
  }
  await Promise.all(Array.from({ length: lanes }, lane));
  await until(() => server.core.stats().running + server.core.stats().waiting === 0);
  expect(server.faults).toEqual([]);
  expect(server.core.state).toBe('ready');
  console.log(`seed ${seed}`, Object.fromEntries(statuses));
  // A fuzzer that is only ever refused at the door tests the door alone.
  expect(statuses.get(200)).toBeGreaterThan(bodyCount / 20);
  expect(statuses.get(400)).toBeGreaterThan(bodyCount / 4);
}, 60_000);
