import { randomUUID } from 'node:crypto';
import { runClosedLoop, runFixedWork } from '../load/drivers.js';
import { drawLength } from '../load/lengths.js';
import { buildPrompt } from '../load/prompts.js';
import { Random } from '../load/random.js';
import type { RequestSpec } from '../load/records.js';
import { summarize, summarizeFixedWork } from '../load/summary.js';
import { outputLength, type Scenario, type ScenarioContext, timing } from './scenario.js';

const ownTokens = 16;
const figures = [
  'generatedTokensPerSecond',
  'cachedTokenFraction',
  'cachedOfIdeal',
  'ttftP50Ms',
  'ttftP99Ms',
  'itlP99Ms',
] as const;

/** Of the window: so many make one request of every client, the official one three. */
const secondsPerRequest = 4;
/** A run is cut when it takes so many windows. */
const longestWindows = 5;

/**
 * Every client sends the same long beginning and a few words of its own, and no server has seen that beginning before:
 * a fixed number of requests, all of which count.
 * @param clientShare of the clients of the other scenarios
 */
export function sharedPrefix(prefixTokens: number, clientShare = 1): Scenario {
  const who = clientShare === 1 ? '' : `, ${clientsOf(32, clientShare)} clients`;
  return {
    name: `shared-prefix-${prefixTokens}`,
    title: `Shared prefix of ${prefixTokens.toLocaleString('en')} tokens, from a cold start${who}`,
    question:
      'Who computes a system prompt that everyone shares when it is new? Every client sends three requests; all of them count, from the first one sent to the last answer. Ideal: only the first request computes the prompt.',
    contextTokens: contextFor(prefixTokens),
    official: { seconds: 10, warmupSeconds: 0 },
    expectedSeconds: ({ seconds }) => 2.5 * seconds,
    headline: figures,
    async run(context) {
      const clients = clientsOf(context.options.clients, clientShare);
      const requestsEach = Math.max(1, Math.round(context.options.seconds / secondsPerRequest));
      // Not by the seed: a run that is repeated must not find its prompt in the cache.
      const prompt = buildPrompt(prefixTokens, context.target.calibration, new Random(randomUUID()));
      const draw = requestsAfter([prompt], prefixTokens, context);
      let sent = 0;
      const result = await runFixedWork({
        clients,
        limitMs: longestWindows * context.options.seconds * 1000,
        signal: context.signal,
        send: context.send,
        nextRequest: (client, turn) => {
          if (turn >= requestsEach) return undefined;
          sent += 1;
          return { ...draw(client, turn), reusableTokens: sent === 1 ? 0 : prefixTokens };
        },
      });
      return { metrics: summarizeFixedWork(result, context.options.targets) };
    },
  };
}

/** The same in a window that opens when every client has seen a token. */
export function sharedPrefixWarm(prefixTokens: number): Scenario {
  return {
    ...afterWarmUp(1, prefixTokens),
    name: `shared-prefix-${prefixTokens}-warm`,
    title: `Shared prefix of ${prefixTokens.toLocaleString('en')} tokens, after warm-up`,
    question: 'How fast is it once the shared system prompt has been computed wherever it is needed?',
  };
}

/** A server of several tenants: each request begins with one of `prompts` texts. */
export function sharedPrompts(prompts: number, prefixTokens: number): Scenario {
  return {
    ...afterWarmUp(prompts, prefixTokens),
    name: `shared-prompts-${prompts}`,
    title: `${prompts} system prompts of ${prefixTokens} tokens, after warm-up`,
    question: `Every request takes one of ${prompts} system prompts at random; all of them have been seen. Does it find its own?`,
  };
}

type WarmScenario = Omit<Scenario, 'name' | 'title' | 'question'>;

function afterWarmUp(prompts: number, prefixTokens: number): WarmScenario {
  return {
    contextTokens: contextFor(prefixTokens),
    official: { seconds: 10, warmupSeconds: 4 },
    expectedSeconds: ({ seconds, warmupSeconds }) => warmupSeconds + seconds + 6,
    headline: figures,
    async run(context) {
      const { calibration } = context.target;
      const random = context.random.fork('prompts');
      const texts = Array.from({ length: prompts }, () => buildPrompt(prefixTokens, calibration, random));
      const result = await runClosedLoop({
        ...timing(context),
        clients: context.options.clients,
        nextRequest: requestsAfter(texts, prefixTokens, context),
      });
      return { metrics: summarize(result, context.options.targets) };
    },
  };
}

/** The same requests for every server, whichever client is faster; the first turns go round all prompts. */
function requestsAfter(
  prompts: readonly string[],
  prefixTokens: number,
  { options, random, target }: ScenarioContext,
): (client: number, turn: number) => RequestSpec {
  const outputs = outputLength(options);
  const promptTokens = prefixTokens + ownTokens;
  return (client, turn) => {
    const own = random.fork(`client ${client} turn ${turn}`);
    const prefix = turn === 0 ? prompts[client % prompts.length]! : own.pick(prompts);
    return {
      prompt: buildPrompt(promptTokens, target.calibration, own, { prefix, prefixTokens }),
      promptTokens,
      reusableTokens: prefixTokens,
      outputTokens: drawLength(outputs, own),
    };
  };
}

function contextFor(prefixTokens: number): number {
  return prefixTokens + 128 > 1024 ? 2048 : 1024;
}

function clientsOf(clients: number, share: number): number {
  return Math.max(1, Math.round(clients * share));
}
