import OpenAI, { APIError, APIUserAbortError } from 'openai';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { until } from '../support/http-client.js';
import { startHttpServer } from '../support/http-test-server.js';
import { ScriptedCore } from '../support/scripted-core.js';
import { type SimulatedServer, startSimulatedServer } from '../support/simulated-server.js';

/** What the official client expects of an OpenAI server, over real HTTP, with the real scheduler. */
let server: SimulatedServer;
let client: OpenAI;
const model = 'simulated';
const messages = [{ role: 'user' as const, content: 'Tell me a story.' }];

beforeAll(async () => {
  server = await startSimulatedServer({ slotCount: 8 });
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 });
});

afterEach(async () => {
  await until(() => server.core.stats().running + server.core.stats().waiting === 0);
  expect(server.faults).toEqual([]);
});

afterAll(() => server.close());

async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const collected: Item[] = [];
  for await (const item of items) collected.push(item);
  return collected;
}

async function streamText(content: string, maxTokens: number): Promise<string> {
  const stream = await client.chat.completions.create({
    model,
    messages: [{ role: 'user', content }],
    max_tokens: maxTokens,
    stream: true,
  });
  let text = '';
  for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? '';
  return text;
}

describe('chat completions', () => {
  test('answer whole, with usage', async () => {
    const answer = await client.chat.completions.create({ model, messages, max_completion_tokens: 12 });
    expect(answer.object).toBe('chat.completion');
    expect(answer.choices).toHaveLength(1);
    expect(answer.choices[0]!.message.role).toBe('assistant');
    expect(['stop', 'length']).toContain(answer.choices[0]!.finish_reason);
    const usage = answer.usage!;
    expect(usage.total_tokens).toBe(usage.prompt_tokens + usage.completion_tokens);
    expect(usage.completion_tokens).toBe(answer.choices[0]!.message.content!.length);
    expect(usage.prompt_tokens_details!.cached_tokens).toBeGreaterThanOrEqual(0);
  });

  test('stream the same text that the whole answer has', async () => {
    const whole = await client.chat.completions.create({ model, messages, max_tokens: 40, temperature: 0 });
    expect(await streamText('Tell me a story.', 40)).toBe(whole.choices[0]!.message.content);
  });

  test('stream usage that equals the whole answer’s', async () => {
    const whole = await client.chat.completions.create({ model, messages, max_tokens: 9 });
    const stream = await client.chat.completions.create({
      model,
      messages,
      max_tokens: 9,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks = await collect(stream);
    expect(chunks.at(-1)!.choices).toEqual([]);
    const { prompt_tokens, completion_tokens } = chunks.at(-1)!.usage!;
    expect([prompt_tokens, completion_tokens]).toEqual([
      whole.usage!.prompt_tokens,
      whole.usage!.completion_tokens,
    ]);
    expect(chunks[0]!.choices[0]!.delta).toMatchObject({
      role: 'assistant',
      content: expect.stringMatching(/./),
    });
    expect(chunks.at(-2)!.choices[0]!.finish_reason).toBeTruthy();
  });

  test('give n choices', async () => {
    const answer = await client.chat.completions.create({ model, messages, n: 3, max_tokens: 5 });
    expect(answer.choices.map((choice) => choice.index)).toEqual([0, 1, 2]);
  });

  test('end before a stop string', async () => {
    const full = await client.chat.completions.create({ model, messages, max_tokens: 30, temperature: 0 });
    const text = full.choices[0]!.message.content!;
    const stop = text.slice(4, 6);
    const stopped = await client.chat.completions.create({
      model,
      messages,
      max_tokens: 30,
      temperature: 0,
      stop,
    });
    expect(stopped.choices[0]!.message.content).toBe(text.slice(0, text.indexOf(stop)));
    expect(stopped.choices[0]!.finish_reason).toBe('stop');
  });

  test('fill the window when max_tokens is absent', async () => {
    const body = { model, messages, ignore_eos: true } as OpenAI.ChatCompletionCreateParamsNonStreaming;
    const answer = await client.chat.completions.create(body);
    expect(answer.usage!.total_tokens).toBe(server.core.model.contextTokens);
    expect(answer.choices[0]!.finish_reason).toBe('length');
  });

  test('run 32 at a time, each answer its own', async () => {
    const questions = Array.from({ length: 32 }, (_, index) => `Question number ${index}?`);
    const together = await Promise.all(questions.map((question) => streamText(question, 30)));
    for (const index of [0, 13, 31]) {
      expect(together[index]).toBe(await streamText(questions[index]!, 30));
    }
    expect(new Set(together).size).toBeGreaterThan(20);
  });
});

describe('completions', () => {
  test('take text, texts, token ids and arrays of them', async () => {
    const ask = async (prompt: string | string[] | number[] | number[][]) => {
      const answer = await client.completions.create({ model, prompt, max_tokens: 8, temperature: 0 });
      return answer.choices.map((choice) => choice.text);
    };
    const [abc] = await ask('abc');
    const [def] = await ask('def');
    expect(await ask(['abc', 'def'])).toEqual([abc, def]);
    expect(await ask([97, 98, 99])).toEqual([abc]);
    expect(
      await ask([
        [100, 101, 102],
        [97, 98, 99],
      ]),
    ).toEqual([def, abc]);
  });

  test('stream', async () => {
    const stream = await client.completions.create({ model, prompt: 'abc', max_tokens: 8, stream: true });
    const chunks = await collect(stream);
    expect(chunks.every((chunk) => chunk.object === 'text_completion')).toBe(true);
    expect(chunks.at(-1)!.choices[0]!.finish_reason).toBeTruthy();
  });
});

test('models can be listed and looked up', async () => {
  const listed = await collect(client.models.list());
  expect(listed.map((entry) => entry.id)).toEqual([model]);
  expect((await client.models.retrieve(model)).object).toBe('model');
});

test('an aborted stream frees its slot', async () => {
  const controller = new AbortController();
  const body = {
    model,
    messages,
    stream: true,
    ignore_eos: true,
  } as OpenAI.ChatCompletionCreateParamsStreaming;
  const stream = await client.chat.completions.create(body, { signal: controller.signal });
  for await (const _chunk of stream) controller.abort();
  await until(() => server.core.stats().running === 0, 500);
});

test('an aborted whole answer frees its slot', async () => {
  const controller = new AbortController();
  const body = { model, messages, ignore_eos: true } as OpenAI.ChatCompletionCreateParamsNonStreaming;
  const answer = client.chat.completions.create(body, { signal: controller.signal });
  const refused = expect(answer).rejects.toThrow(APIUserAbortError);
  await until(() => server.core.stats().running === 1);
  controller.abort();
  await refused;
  await until(() => server.core.stats().running === 0, 500);
});

describe('errors reach the client as its own classes', () => {
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
