/** Scenarios run over HTTP against servers that remember all prompts, the last one, or none. */
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { openTarget } from '../../bench/load/target.js';
import { parseLoadOptions } from '../../bench/options.js';
import { officialOptions } from '../../bench/peers/schedule.js';
import type { RunResult } from '../../bench/report/results.js';
import { selectScenarios } from '../../bench/scenarios/index.js';
import { runScenario } from '../../bench/scenarios/run-scenario.js';
import type { Scenario } from '../../bench/scenarios/scenario.js';
import { smokeScenarios } from '../../bench/scenarios/smoke.js';

const servers: Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

interface Body {
  prompt: string;
  max_tokens: number;
}

/** Words that `known` prompts share with the beginning of this one. */
function sharedWords(words: readonly string[], known: readonly (readonly string[])[]): number {
  const lengths = known.map((other) => {
    const end = words.findIndex((word, index) => word !== other[index]);
    return end === -1 ? words.length : end;
  });
  return Math.max(0, ...lengths);
}

/**
 * Counts one token per word.
 * @param remembers how many of the last prompts it has in its cache
 * @param tokenMs pause between two tokens
 */
async function listen(remembers: number, tokenMs = 0): Promise<{ url: string; prompts: string[] }> {
  const known: string[][] = [];
  const prompts: string[] = [];
  const server = createServer(async (request, response) => {
    if (request.method === 'GET') return void response.end(JSON.stringify({ data: [{ id: 'm' }] }));
    let text = '';
    for await (const chunk of request) text += chunk;
    const { prompt, max_tokens: count } = JSON.parse(text) as Body;
    const words = prompt.split(' ');
    const cached = sharedWords(words, known);
    known.push(words);
    prompts.push(prompt);
    if (known.length > remembers) known.shift();
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    for (let index = 1; index <= count; index += 1) {
      if (tokenMs > 0) await new Promise((resolve) => setTimeout(resolve, tokenMs));
      const finish = index === count ? 'length' : null;
      response.write(`data: ${JSON.stringify({ choices: [{ text: ' x', finish_reason: finish }] })}\n\n`);
    }
    const usage = {
      prompt_tokens: words.length,
      completion_tokens: count,
      prompt_tokens_details: { cached_tokens: cached },
    };
    response.end(`data: ${JSON.stringify({ choices: [], usage })}\n\ndata: [DONE]\n\n`);
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, prompts };
}

const defaults = {
  seconds: '12',
  'warmup-seconds': '0',
  'prompt-tokens': '64',
  'output-tokens': '2',
  clients: '8',
  lengths: 'fixed',
  'ttft-target-ms': '1',
  'itl-target-ms': '1',
  'context-tokens': '1024',
};

async function run(
  url: string,
  wanted: string | Scenario,
  flags: Record<string, string> = {},
): Promise<RunResult> {
  const target = await openTarget({ url });
  const options = parseLoadOptions({ ...defaults, ...flags });
  const scenario = typeof wanted === 'string' ? selectScenarios([wanted])[0]! : wanted;
  const { signal } = new AbortController();
  const result = await runScenario({ subject: 's', scenario, target, options, seed: 1, signal });
  target.endpoint.agent.destroy();
  return result;
}

describe('shared-prefix-200, from a cold start', () => {
  it('is a fixed number of requests, all of which count', async () => {
    const { metrics, scenario } = await run((await listen(1000)).url, 'shared-prefix-200');
    expect(scenario).toBe('shared-prefix-200');
    expect(metrics).toMatchObject({ requests: 24, meanPromptTokens: 216, meanOutputTokens: 2 });
    expect(metrics.generatedTokensPerSecond! / metrics.completedRequestsPerSecond!).toBeCloseTo(2);
    expect(metrics.cachedTokenFraction).toBeCloseTo((23 * 200) / (24 * 216), 2);
  });

  it('calls it ideal when only the first request computes the prompt, in every run anew', async () => {
    const { url } = await listen(1000);
    for (const _ of [1, 2]) {
      const { metrics } = await run(url, 'shared-prefix-200');
      expect(metrics.cachedOfIdeal).toBeCloseTo(1, 2);
      expect(metrics.computedOfIdeal).toBeCloseTo(1, 2);
    }
    const forgetful = await run((await listen(0)).url, 'shared-prefix-200');
    expect(forgetful.metrics.cachedOfIdeal).toBe(0);
  });

  it('knows no latencies of work that was cut', async () => {
    const { url } = await listen(1000, 150);
    const { metrics } = await run(url, 'shared-prefix-200', { seconds: '1', 'output-tokens': '100' });
    expect(metrics.unfinishedRequests).toBe(8);
    expect(metrics.generatedTokensPerSecond).toBeGreaterThan(5);
    expect(metrics).not.toHaveProperty('ttftP50Ms');
    expect(metrics).not.toHaveProperty('cachedTokenFraction');
  }, 20_000);

  it('sends the longer prompt from a quarter of the clients', async () => {
    const { metrics } = await run((await listen(1000)).url, 'shared-prefix-1000');
    expect(metrics).toMatchObject({ requests: 6, meanPromptTokens: 1016 });
  });
});

describe('after warm-up', () => {
  it('the ideal is that every request finds its prompt', async () => {
    const { url } = await listen(1000);
    const warm = await run(url, 'shared-prefix-200-warm', { seconds: '1', 'warmup-seconds': '1' });
    expect(warm.metrics.cachedOfIdeal).toBeCloseTo(1, 2);
  });

  it('shared-prompts-8 spreads the requests over eight prompts, all of them in the first turn', async () => {
    const { url, prompts } = await listen(1, 5);
    const { metrics } = await run(url, 'shared-prompts-8', { seconds: '1', 'warmup-seconds': '1' });
    const prefixes = prompts.map((prompt) => prompt.split(' ').slice(0, 200).join(' '));
    const own = prefixes.filter(
      (prefix) => prefix.split(' ').length === 200 && countOf(prefix, prefixes) > 1,
    );
    expect(new Set(own).size).toBe(8);
    expect(new Set(own.slice(0, 8)).size).toBe(8);
    // A cache of one prompt finds one in eight.
    expect(metrics.cachedOfIdeal).toBeGreaterThan(0.05);
    expect(metrics.cachedOfIdeal).toBeLessThan(0.25);
  });
});

it('a round of bench:smoke is the same small work every time', async () => {
  const { url } = await listen(1000, 2);
  const work = { throughput: 16, 'shared-prefix-200': 8, interference: undefined };
  expect(smokeScenarios.map(({ name }) => name)).toEqual(Object.keys(work));
  for (const scenario of smokeScenarios) {
    const { seconds } = officialOptions(parseLoadOptions(defaults), scenario);
    const { metrics } = await run(url, scenario, { seconds: `${seconds}`, clients: '8' });
    expect(metrics.requests).toBe(work[scenario.name as keyof typeof work]);
    expect(metrics.unfinishedRequests).toBe(0);
    if (scenario.name === 'interference') {
      expect(metrics).toMatchObject({ steadyTokens: 8 * 30, longRequests: 1 });
      expect(metrics.totalSeconds).toBeGreaterThan(0.3);
    }
  }
});

function countOf(text: string, texts: readonly string[]): number {
  return texts.filter((other) => other === text).length;
}
