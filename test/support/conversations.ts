import type { LocalServingCore } from '../../src/serving/local-serving-core.js';
import { requestFor, run } from './core-client.js';
import { SeededRandom } from './seeded-random.js';

export interface Turn {
  prompt: Uint32Array;
  answer: readonly number[];
  cachedTokens: number;
  /** First tokens of the prompt that an earlier turn of the conversation has computed already. */
  reusableTokens: number;
}

export interface Talk {
  conversations: number;
  turns: number;
  systemText: string;
  /** Texts that users say, one drawn per turn. */
  utterances: readonly string[];
  answerTokens: number;
  seed: number;
}

/** All conversations at once; each asks again when it has its answer. In order of conversation and turn. */
export async function holdConversations(core: LocalServingCore, talk: Talk): Promise<Turn[][]> {
  const numbers = Array.from({ length: talk.conversations }, (_, number) => number);
  return Promise.all(numbers.map((number) => converse(core, talk, number)));
}

async function converse(core: LocalServingCore, talk: Talk, number: number): Promise<Turn[]> {
  const random = new SeededRandom(talk.seed + number);
  let known = core.codec.encode(`${talk.systemText} Conversation ${number}.`, false);
  let computed = 0;
  const turns: Turn[] = [];
  for (let turn = 0; turn < talk.turns; turn += 1) {
    const said = core.codec.encode(` ${random.pick(talk.utterances)}`, false);
    const prompt = Uint32Array.from([...known, ...said]);
    const request = requestFor(core, '', { prompts: [prompt], maxTokens: talk.answerTokens });
    const { tokens, finished } = await run(core, request);
    const answer = tokens[0]!;
    turns.push({
      prompt,
      answer,
      cachedTokens: finished[0]!.usage.cachedTokens,
      reusableTokens: Math.min(computed, prompt.length - 1),
    });
    known = Uint32Array.from([...prompt, ...answer]);
    // The last token was sampled but never decoded.
    computed = prompt.length + Math.max(0, answer.length - 1);
  }
  return turns;
}

/** Share of the reusable prompt tokens that came from cache; what conversations share with each other counts too. */
export function reusedShare(conversations: readonly Turn[][]): number {
  const later = conversations.flatMap((turns) => turns.slice(1));
  const reusable = later.reduce((sum, { reusableTokens }) => sum + reusableTokens, 0);
  const reused = later.reduce((sum, turn) => sum + Math.min(turn.cachedTokens, turn.reusableTokens), 0);
  return reused / reusable;
}

/** The same prompts, answered by another server. */
export async function answersOf(
  core: LocalServingCore,
  turns: readonly Turn[],
  answerTokens: number,
): Promise<number[][]> {
  return Promise.all(
    turns.map(async ({ prompt }) => {
      const { tokens } = await run(
        core,
        requestFor(core, '', { prompts: [prompt], maxTokens: answerTokens }),
      );
      return tokens[0]!;
    }),
  );
}
