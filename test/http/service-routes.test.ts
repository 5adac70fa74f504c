import { afterAll, beforeAll, expect, test } from 'vitest';
import { numberParameters } from '../../src/http/parameters/number-parameters.js';
import { get, post } from '../support/http-client.js';
import type { ServingServer } from '../support/serving-server.js';
import { startSimulatedServer } from '../support/simulated-server.js';

let server: ServingServer;

beforeAll(async () => {
  server = await startSimulatedServer({ slotCount: 1, maxWaiting: 1 });
});

afterAll(() => server.close());

/** Value of a metric line without labels, or with exactly these. */
async function metric(name: string): Promise<number> {
  const { text } = await get(`${server.url}/metrics`);
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${name} `));
  if (line === undefined) throw new Error(`no metric ${name}`);
  return Number(line.slice(name.length + 1));
}

test('metrics follow a request from arrival to end', async () => {
  const body = { prompt: 'abcd', max_tokens: 6, ignore_eos: true };
  expect((await post(`${server.url}/v1/completions`, body)).status).toBe(200);
  expect(await metric('chairlift_prompt_tokens_total')).toBe(4);
  expect(await metric('chairlift_generation_tokens_total')).toBe(6);
  expect(await metric('chairlift_cached_prompt_tokens_total')).toBe(0);
  expect(await metric('chairlift_time_to_first_token_seconds_count')).toBe(1);
  expect(await metric('chairlift_inter_token_latency_seconds_count')).toBe(5);
  expect(await metric('chairlift_e2e_request_latency_seconds_count')).toBe(1);
  expect(await metric('chairlift_request_queue_time_seconds_count')).toBe(1);
  expect(await metric('chairlift_request_success_total{finished_reason="length"}')).toBe(1);
  expect(await metric('chairlift_num_requests_running')).toBe(0);
  expect(await metric('chairlift_num_requests_waiting')).toBe(0);
  expect(await metric('chairlift_slots{state="cached"}')).toBe(1);
  for (const part of [
    'rows',
    'passes',
    'tokens',
    'decode_seconds',
    'sampling_seconds',
    'javascript_seconds',
  ]) {
    expect(await metric(`chairlift_tick_${part}_count`)).toBeGreaterThanOrEqual(6);
  }
  expect((await get(`${server.url}/metrics`)).headers.get('content-type')).toMatch(/^text\/plain/);
});

test('every refusal is counted once, by its code', async () => {
  await post(`${server.url}/v1/completions`, { prompt: 5 });
  await post(`${server.url}/v1/completions`, { prompt: 'a', echo: true });
  expect(await metric('chairlift_request_rejections_total{reason="invalid_value"}')).toBe(1);
  expect(await metric('chairlift_request_rejections_total{reason="unsupported_parameter"}')).toBe(1);
  const slow = { prompt: 'a', max_tokens: 300, ignore_eos: true };
  const replies = await Promise.all(
    Array.from({ length: 6 }, () => post(`${server.url}/v1/completions`, slow)),
  );
  const refused = replies.filter((reply) => reply.status === 429);
  expect(refused.length).toBeGreaterThan(0);
  for (const reply of refused) expect(Number(reply.headers.get('retry-after'))).toBeGreaterThanOrEqual(1);
  expect(await metric('chairlift_request_rejections_total{reason="queue_full"}')).toBe(refused.length);
});

test('the documentation page needs nothing from the network', async () => {
  const page = await get(`${server.url}/docs`);
  expect(page.status).toBe(200);
  const assets = [...page.text.matchAll(/(?:href|src)="([^"]+)"/g)].map((match) => match[1]!);
  expect(assets.length).toBeGreaterThan(3);
  for (const asset of assets) {
    expect(asset).toMatch(/^\//);
    expect((await get(server.url + asset)).status, asset).toBe(200);
  }
  expect((await get(`${server.url}/docs/json`)).status).toBe(200);
});

test('the API document lists every route with its fields', async () => {
  const document = JSON.parse((await get(`${server.url}/openapi.json`)).text);
  expect(Object.keys(document.paths)).toEqual(
    expect.arrayContaining([
      '/detokenize',
      '/health',
      '/metrics',
      '/tokenize',
      '/v1/chat/completions',
      '/v1/completions',
      '/v1/models',
      '/v1/models/{id}',
    ]),
  );
  expect(document.openapi).toBe('3.1.0');
  expect(document.paths['/health'].get.security).toEqual([]);
});

test('the limits of the API document are those that are enforced', async () => {
  const document = JSON.parse((await get(`${server.url}/openapi.json`)).text);
  const route = document.paths['/v1/completions'].post.requestBody.content['application/json'];
  for (const name of Object.keys(numberParameters)) {
    const { minimum, maximum } = route.schema.properties[name].anyOf[0];
    for (const value of [minimum - 1, maximum + (maximum > 2 ** 50 ? 2 : 1)]) {
      const reply = await post(`${server.url}/v1/completions`, { prompt: 'a', max_tokens: 1, [name]: value });
      expect(JSON.parse(reply.text).error.message, `${name} ${value}`).toContain(
        `${name} must be between ${minimum} and ${maximum}`,
      );
    }
  }
});
