import { describe, expect, it } from 'vitest';
import { buildPrompt, calibrate, drawWords, guessedCalibration } from '../../bench/load/prompts.js';
import { Random } from '../../bench/load/random.js';
import { SseParser } from '../../bench/load/sse.js';
import { distinctRequests, type ScenarioContext } from '../../bench/scenarios/scenario.js';

/** A tokenizer with a BOS, a two-token template and some words of two tokens. */
function countWith(longWords: readonly string[], overhead = 3) {
  let calls = 0;
  const count = async (text: string): Promise<number> => {
    calls += 1;
    const words = text.split(' ').filter(Boolean);
    return overhead + words.length + words.filter((word) => longWords.includes(word)).length;
  };
  return { count, calls: () => calls };
}

describe('calibrate', () => {
  const words = Array.from({ length: 64 }, (_, index) => `w${index}`);

  it('finds the overhead and drops words of several tokens', async () => {
    const { count, calls } = countWith(['w3', 'w40']);
    const calibration = await calibrate(count, words);
    expect(calibration).toMatchObject({ overheadTokens: 3, isExact: true });
    expect(calibration.words).toHaveLength(62);
    expect(calibration.words).not.toContain('w40');
    expect(calls()).toBeLessThan(30);
  });

  it('needs two requests when every word is one token', async () => {
    const { count, calls } = countWith([]);
    await calibrate(count, words);
    expect(calls()).toBe(2);
  });

  it('says so when the counts never add up', async () => {
    const { count, calls } = countWith(words);
    expect((await calibrate(count, words, 40)).isExact).toBe(false);
    expect(calls()).toBeLessThanOrEqual(41);
  });

  it('builds prompts that the tokenizer counts as asked', async () => {
    const { count } = countWith(['w3'], 2);
    const calibration = await calibrate(count, words);
    const random = new Random(5);
    for (const tokens of [4, 64, 1200]) {
      expect(await count(buildPrompt(tokens, calibration, random))).toBe(tokens);
    }
    const prefix = buildPrompt(200, calibration, random);
    const shared = buildPrompt(216, calibration, random, { prefix, prefixTokens: 200 });
    expect(await count(shared)).toBe(216);
    expect(shared.startsWith(`${prefix} `)).toBe(true);
  });

  it('draws different prompts from one stream and the same from the same seed', () => {
    const random = new Random('prompt');
    expect(drawWords(20, words, random)).not.toBe(drawWords(20, words, random));
    expect(drawWords(20, words, new Random(9))).toBe(drawWords(20, words, new Random(9)));
  });
});

describe('distinctRequests', () => {
  it('draws the same lengths and other words for two phases that are compared', () => {
    const context = {
      random: new Random('seed'),
      options: { promptTokens: 64, outputTokens: 48, lengths: 'spread', contextTokens: 1024 },
      target: { calibration: guessedCalibration },
    } as ScenarioContext;
    const draw = (label: string) => Array.from({ length: 20 }, distinctRequests(context, label, 'replies'));
    const [alone, mixed] = [draw('alone'), draw('mixed')];
    const lengths = (requests: typeof alone) =>
      requests.map(({ promptTokens, outputTokens }) => [promptTokens, outputTokens]);
    expect(lengths(mixed)).toEqual(lengths(alone));
    expect(new Set(alone.map(({ promptTokens }) => promptTokens)).size).toBeGreaterThan(5);
    expect(mixed.map(({ prompt }) => prompt)).not.toEqual(alone.map(({ prompt }) => prompt));
  });
});

describe('SseParser', () => {
  const stream =
    'data: {"a":1}\n\n: ping\n\nid: 7\r\nevent: x\r\ndata:two\r\ndata: lines\r\n\r\ndata: [DONE]\n\n';
  const events = ['{"a":1}', 'two\nlines', '[DONE]'];

  it('reads the same events wherever the stream is cut', () => {
    for (let size = 1; size <= stream.length; size += 1) {
      const parser = new SseParser();
      const found: string[] = [];
      for (let at = 0; at < stream.length; at += size)
        found.push(...parser.push(stream.slice(at, at + size)));
      expect(found).toEqual(events);
      expect(parser.isMidEvent).toBe(false);
    }
  });

  it('knows that it stopped in the middle', () => {
    const parser = new SseParser();
    expect(parser.push('data: half')).toEqual([]);
    expect(parser.isMidEvent).toBe(true);
  });
});
