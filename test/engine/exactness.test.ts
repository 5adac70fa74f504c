import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { LlamaEngine } from '../../src/engine/llama/llama-engine.js';
import { loadLlamaRuntime } from '../../src/engine/llama/load-llama-runtime.js';
import type { TokenLogit } from '../../src/engine/llama/native-context.js';
import { requestFor, run, startCore } from '../support/core-client.js';
import { realModelPath, tinyModelPath } from '../support/models.js';

/** Logits closer than this are a tie that the order of float additions may decide either way. */
const nearTie = 0.05;

interface Exception {
  prompt: string;
  position: number;
  logits: TokenLogit[];
}

/** Greedy answers of `prompts` alone and 32 at a time; where they part, the two best logits at that token. */
async function compareAloneWithCompany(
  modelPath: string,
  prompts: string[],
  maxTokens: number,
): Promise<Exception[]> {
  const runtime = await loadLlamaRuntime({
    modelPath,
    slots: 32,
    contextTokens: 512,
    batchTokens: 512,
    threads: 2,
  });
  const core = startCore(runtime);
  const ask = (text: string) =>
    requestFor(core, core.codec.renderChat([{ role: 'user', content: text }]), { maxTokens });
  const alone: number[][] = [];
  for (const prompt of prompts) alone.push((await run(core, ask(prompt))).tokens[0]!);
  const company = await Promise.all(prompts.map((prompt) => run(core, ask(prompt))));
  const exceptions: Exception[] = [];
  for (const [index, prompt] of prompts.entries()) {
    const together = company[index]!.tokens[0]!;
    const position = alone[index]!.findIndex((token, at) => together[at] !== token);
    if (position === -1 && together.length === alone[index]!.length) continue;
    const parted = position === -1 ? alone[index]!.length : position;
    const tokens = Uint32Array.from([
      ...(ask(prompt).prompts[0] as Uint32Array),
      ...alone[index]!.slice(0, parted),
    ]);
    const logits = await (runtime.engine as LlamaEngine).topLogits(tokens, 2);
    exceptions.push({ prompt, position: parted, logits });
  }
  await core.close(0);
  return exceptions;
}

function report(exceptions: Exception[], total: number): void {
  for (const { prompt, position, logits } of exceptions) {
    const best = logits.map(({ token, logit }) => `${token}: ${logit.toFixed(4)}`).join(', ');
    console.log(`near tie in "${prompt}" at token ${position}: ${best}`);
  }
  console.log(`${exceptions.length} of ${total} prompts differ between alone and in company`);
}

const gap = ({ logits }: Exception) => logits[0]!.logit - logits[1]!.logit;

describe('greedy output is the same alone and in a batch of 32', () => {
  it('for 200 prompts on the tiny model', async () => {
    const file = new URL('../../src/models/tiny/heldout-prompts.json', import.meta.url);
    const { batchPrompts } = JSON.parse(readFileSync(file, 'utf8')) as {
      batchPrompts: string[];
    };
    expect(batchPrompts).toHaveLength(200);
    const exceptions = await compareAloneWithCompany(tinyModelPath, batchPrompts, 24);
    report(exceptions, 200);
    expect(exceptions).toEqual([]);
  });

  it.skipIf(realModelPath === null)(
    'for 32 prompts on SmolLM2 (skipped when `chairlift pull` has not been run: no real model in the cache)',
    async () => {
      const topics = ['rivers', 'bread', 'the moon', 'trains', 'bees', 'chess', 'salt', 'glass'];
      const questions = [
        'What are',
        'Write one sentence about',
        'Why do people like',
        'Who first wrote about',
      ];
      const prompts = questions.flatMap((question) => topics.map((topic) => `${question} ${topic}?`));
      const exceptions = await compareAloneWithCompany(realModelPath!, prompts, 24);
      report(exceptions, prompts.length);
      for (const exception of exceptions) expect(gap(exception)).toBeLessThan(nearTie);
    },
    120_000,
  );
});
