import { connect, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { until } from '../support/http-client.js';
import { type HttpTestServer, startHttpServer } from '../support/http-test-server.js';
import { ScriptedCore } from '../support/scripted-core.js';

let core: ScriptedCore;
let server: HttpTestServer;
let socket: Socket;

beforeEach(async () => {
  core = new ScriptedCore();
  server = await startHttpServer(core, undefined, { apiKeys: ['one', 'two'] });
  socket = connect(server.port, '127.0.0.1');
});

afterEach(async () => {
  socket.destroy();
  await server.close();
});

/** Texts whose lengths tell them apart; many of them are tokenised one per turn of the event loop. */
const many = { path: '/v1/completions', body: { prompt: Array.from({ length: 20 }, () => 'aaaa') } };
const single = { path: '/v1/completions', body: { prompt: 'a' } };
const chat = { path: '/v1/chat/completions', body: { messages: [{ role: 'user', content: 'a' }] } };

function send({ path, body }: { path: string; body: object }, key = 'one'): string {
  const text = JSON.stringify({ ...body, max_tokens: 1 });
  const head = [`POST ${path} HTTP/1.1`, 'host: x', `authorization: Bearer ${key}`];
  const lengths = ['content-type: application/json', `content-length: ${text.length}`];
  return `${[...head, ...lengths].join('\r\n')}\r\n\r\n${text}`;
}

/** Numbers of prompts, in the order in which the core got them. */
async function submitted(...requests: string[]): Promise<number[]> {
  // In one piece, so that the last has arrived before the first is tokenised.
  socket.write(requests.join(''));
  await until(() => core.requests.length === requests.length);
  return core.requests.map(({ request }) => request.prompts.length);
}

it.each([
  ['a completion', single],
  ['a chat', chat],
])('%s does not pass an earlier one of its tenant that takes long to tokenise', async (_, later) => {
  expect(await submitted(send(many), send(later))).toEqual([20, 1]);
});

it('nobody waits for another tenant, or for another class', async () => {
  const flex = { ...single, body: { ...single.body, service_tier: 'flex' } };
  expect(await submitted(send(many), send(single, 'two'), send(flex))).toEqual([1, 1, 20]);
});

it('whoever is refused lets the next one pass, who still waits for those before', async () => {
  const tooLong = { ...many, body: { prompt: [...many.body.prompt.slice(0, 3), 'a'.repeat(600)] } };
  socket.write([send(many), send(tooLong), send(single), send(many)].join(''));
  await until(() => core.requests.length === 3);
  expect(core.requests.map(({ request }) => request.prompts.length)).toEqual([20, 1, 20]);
});
