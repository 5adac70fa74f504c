import OpenAI, { APIUserAbortError } from 'openai';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import type { RunningServer } from '../../src/main.js';
import { collect } from '../support/collect.js';
import { post, until } from '../support/http-client.js';
import { startWholeServer } from '../support/whole-server.js';

/** What the official client expects of an OpenAI server: the whole program over real HTTP, on both engines. */
describe.each(['simulated', 'llama'] as const)('the openai client on the %s engine', (engine) => {
  let server: RunningServer;
  let model: string;
  let client: OpenAI;
  const messages = [{ role: 'user' as const, content: 'Tell me a story.' }];

  beforeAll(async () => {
    server = await startWholeServer(engine);
    model = server.core.model.id;
    client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 0 });
  });

  afterEach(async () => {
    await until(() => server.core.stats().running + server.core.stats().waiting === 0);
  });

  afterAll(() => server.close());

  async function tokenIds(prompt: string): Promise<number[]> {
    return JSON.parse((await post(`${server.url}/tokenize`, { prompt })).text).tokens;
  }

  async function streamText(content: string, maxTokens: number): Promise<string> {
    const stream = await client.chat.completions.create({
      model,
      messages: [{ role: 'user', content }],
      max_tokens: maxTokens,
      temperature: 0,
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
      expect(usage.completion_tokens).toBeLessThanOrEqual(12);
      if (engine === 'simulated')
        expect(answer.choices[0]!.message.content).toHaveLength(usage.completion_tokens);
      expect(usage.prompt_tokens_details!.cached_tokens).toBeGreaterThanOrEqual(0);
    });

    test('stream the same text that the whole answer has', async () => {
      const whole = await client.chat.completions.create({ model, messages, max_tokens: 40, temperature: 0 });
      expect(await streamText('Tell me a story.', 40)).toBe(whole.choices[0]!.message.content);
    });

    test('stream usage that equals the whole answer’s', async () => {
      const whole = await client.chat.completions.create({ model, messages, max_tokens: 9, temperature: 0 });
      const stream = await client.chat.completions.create({
        model,
        messages,
        max_tokens: 9,
        temperature: 0,
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
      // A real model may break a near-tie differently in company: test/engine/exactness.test.ts measures that.
      for (const index of engine === 'simulated' ? [0, 13, 31] : []) {
        expect(together[index]).toBe(await streamText(questions[index]!, 30));
      }
      expect(together.every((text) => text.length > 0)).toBe(true);
      expect(new Set(together).size).toBeGreaterThan(10);
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
      const [abcIds, defIds] = [await tokenIds('abc'), await tokenIds('def')];
      expect(await ask(abcIds)).toEqual([abc]);
      expect(await ask([defIds, abcIds])).toEqual([def, abc]);
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
});
