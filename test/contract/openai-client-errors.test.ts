import OpenAI, { APIError } from 'openai';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { collect } from '../support/collect.js';
import { until } from '../support/http-client.js';
import { startHttpServer } from '../support/http-test-server.js';
import { ScriptedCore } from '../support/scripted-core.js';
import type { ServingServer } from '../support/serving-server.js';
import { startSimulatedServer } from '../support/simulated-server.js';

const model = 'simulated';
const messages = [{ role: 'user' as const, content: 'Tell me a story.' }];

describe('errors reach the openai client as its own classes', () => {
  let server: ServingServer;
  let client: OpenAI;

  beforeAll(async () => {
    server = await startSimulatedServer();
    client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 });
  });

  afterAll(() => server.close());

  test('bad request', async () => {
    const answer = client.chat.completions.create({ model, messages, temperature: 9 });
    await expect(answer).rejects.toMatchObject({
      status: 400,
      code: 'invalid_value',
      param: 'temperature',
      type: 'invalid_request_error',
      message: expect.stringContaining('between 0 and 2, got 9'),
      requestID: expect.stringMatching(/^req-/),
    });
  });

  test('context length', async () => {
    const answer = client.completions.create({ model, prompt: 'x'.repeat(600) });
    await expect(answer).rejects.toMatchObject({
      status: 400,
      code: 'context_length_exceeded',
      param: 'prompt',
    });
  });

  test('unknown model', async () => {
    const answer = client.chat.completions.create({ model: 'gpt-4o', messages });
    await expect(answer).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  });

  test('wrong key', async () => {
    const core = new ScriptedCore();
    const guarded = await startHttpServer(core, undefined, { apiKeys: ['right'] });
    const ask = (apiKey: string) =>
      new OpenAI({ baseURL: `${guarded.url}/v1`, apiKey, maxRetries: 0 }).models.list();
    await expect(ask('wrong')).rejects.toBeInstanceOf(OpenAI.AuthenticationError);
    await expect(ask('right')).resolves.toBeTruthy();
    await guarded.close();
  });

  test('a full line is a rate limit, and the client’s own retry gets through it', async () => {
    const small = await startSimulatedServer({ slotCount: 1, maxWaiting: 0 });
    const patient = new OpenAI({ baseURL: `${small.url}/v1`, apiKey: 'none', maxRetries: 3 });
    const impatient = new OpenAI({ baseURL: `${small.url}/v1`, apiKey: 'none', maxRetries: 0 });
    const body = { model, prompt: 'a', max_tokens: 200, ignore_eos: true };
    const running = impatient.completions.create(body);
    await until(() => small.core.stats().running === 1);
    await expect(impatient.completions.create(body)).rejects.toBeInstanceOf(OpenAI.RateLimitError);
    expect((await patient.completions.create(body)).usage!.completion_tokens).toBe(200);
    await running;
    await small.close();
  });

  test('a stream that fails half-way throws, it does not just end', async () => {
    const core = new ScriptedCore();
    const failing = await startHttpServer(core);
    const arrival = core.nextRequest();
    const stream = await new OpenAI({
      baseURL: `${failing.url}/v1`,
      apiKey: 'none',
      maxRetries: 0,
    }).completions.create({ model: 'default', prompt: 'a', stream: true });
    const { emit } = await arrival;
    emit({ type: 'text', choice: 0, text: 'half', tokens: [1] });
    const usage = { promptTokens: 1, cachedTokens: 0, completionTokens: 1 };
    emit({ type: 'finished', choice: 0, reason: 'error', usage });
    await expect(collect(stream)).rejects.toBeInstanceOf(APIError);
    await failing.close();
  });

  test('a stream that is cut throws', async () => {
    const core = new ScriptedCore();
    const cut = await startHttpServer(core);
    const arrival = core.nextRequest();
    const stream = await new OpenAI({
      baseURL: `${cut.url}/v1`,
      apiKey: 'none',
      maxRetries: 0,
    }).completions.create({
      model: 'default',
      prompt: 'a',
      stream: true,
    });
    await arrival;
    const read = collect(stream);
    const refused = expect(read).rejects.toThrow();
    await cut.close();
    await refused;
  });
});
