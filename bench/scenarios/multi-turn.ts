import { runClosedLoop } from '../load/drivers.js';
import { buildPrompt, drawWords } from '../load/prompts.js';
import type { RequestRecord, RequestSpec } from '../load/records.js';
import { latencies, servedIn, summarize } from '../load/summary.js';
import { type Scenario, type ScenarioContext, timing } from './scenario.js';

/** More than there are slots: a conversation whose user thinks may lose its slot meanwhile. */
const conversationsPerClient = 1.5;
const turnsPerConversation = 5;
const openingTokens = 64;
const userTokens = 24;
const replyTokens = 32;
const meanThinkMs = 1500;

export const multiTurn: Scenario = {
  name: 'multi-turn',
  title: 'Conversations of several turns',
  question: 'Does a returning conversation find its history still computed?',
  contextTokens: 1024,
  official: { seconds: 14, warmupSeconds: 5 },
  expectedSeconds: ({ seconds, warmupSeconds }) => warmupSeconds + seconds + 2,
  headline: [
    'laterTurnTtftP50Ms',
    'laterTurnTtftP99Ms',
    'cachedTokenFraction',
    'computedOfIdeal',
    'generatedTokensPerSecond',
  ],
  async run(context) {
    const talk = conversationTurns(context);
    const think = context.random.fork('think');
    const result = await runClosedLoop({
      ...timing(context),
      clients: Math.round(conversationsPerClient * context.options.clients),
      nextRequest: talk,
      thinkMs: () => think.exponential(meanThinkMs),
    });
    const later = latencies(servedIn(result).filter(({ tag }) => tag === 'later turn'));
    return {
      metrics: {
        ...summarize(result, context.options.targets),
        laterTurnTtftP50Ms: later.ttftP50Ms!,
        laterTurnTtftP99Ms: later.ttftP99Ms!,
      },
    };
  },
};

/** Each turn repeats the whole conversation so far, with the server's own replies in it. */
function conversationTurns(
  context: ScenarioContext,
): (client: number, turn: number, previous?: RequestRecord) => RequestSpec {
  const { calibration } = context.target;
  const history = new Map<number, { text: string; tokens: number }>();
  return (client, turn, previous) => {
    const random = context.random.fork(`conversation ${client} turn ${turn}`);
    const past = history.get(client);
    const isFirst = turn % turnsPerConversation === 0 || past === undefined;
    const next = isFirst
      ? { text: buildPrompt(openingTokens, calibration, random), tokens: openingTokens }
      : {
          text: `${past.text}${previous?.text ?? ''} ${drawWords(userTokens, calibration.words, random)}`,
          tokens: past.tokens + replyTokens + userTokens,
        };
    history.set(client, next);
    return {
      tag: isFirst ? 'first turn' : 'later turn',
      prompt: next.text,
      promptTokens: next.tokens,
      ...(isFirst ? { reusableTokens: 0 } : reusableOf(previous)),
      outputTokens: replyTokens,
    };
  };
}

/** All that the last turn computed; its last token was sampled but never computed. Unknown after a refusal. */
function reusableOf(previous: RequestRecord | undefined): { reusableTokens?: number } {
  if (previous?.promptTokens === undefined || previous.outputTokens === undefined) return {};
  return { reusableTokens: previous.promptTokens + previous.outputTokens - 1 };
}
