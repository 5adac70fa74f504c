import { expect, test } from 'vitest';
import { loadLlamaRuntime } from '../../src/engine/llama/load-llama-runtime.js';
import { requestFor, run, startCore } from '../support/core-client.js';
import { tinyModelPath } from '../support/models.js';

test('an answer goes on after any of its tokens as if nothing had happened', async () => {
  const runtime = await loadLlamaRuntime({
    modelPath: tinyModelPath,
    slots: 2,
    contextTokens: 256,
    batchTokens: 256,
    threads: 1,
  });
  const core = startCore(runtime);
  const ask = { maxTokens: 24, stopStrings: ['zzz'] };
  const whole = await run(core, requestFor(core, 'Once upon a time', ask));
  const tokens = whole.tokens[0]!;
  let same = 0;
  for (let sent = 1; sent <= tokens.length; sent += 1) {
    const resume = [{ tokens: tokens.slice(0, sent), finished: false }];
    const rest = await run(core, requestFor(core, 'Once upon a time', { ...ask, resume }));
    expect(rest.finished[0]!.usage).toEqual({
      ...whole.finished[0]!.usage,
      cachedTokens: rest.finished[0]!.usage.cachedTokens,
    });
    expect(rest.finished[0]!.reason).toBe(whole.finished[0]!.reason);
    if (whole.text[0]!.endsWith(rest.text[0]!) && rest.tokens[0]!.length === tokens.length - sent) same += 1;
  }
  // A prefill of another size rounds differently, which may flip a near tie.
  expect(same).toBeGreaterThanOrEqual(tokens.length - 1);
  await core.close(0);
});
