/**
 * Measures a GGUF of this folder through the node-llama-cpp addon, with greedy decoding:
 *   node evaluate.mjs [model.gguf]
 */
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { getLlama, LlamaLogLevel } from 'node-llama-cpp';

const SLOTS = 32;
const ANSWER_TOKENS = 200;
const ENDLESS_TOKENS = 400;
const SPEED_TICKS = 200;

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const modelPath = process.argv[2] ?? here('chairlift-tiny-Q8_0.gguf');
const { heldOutStories, batchPrompts } = JSON.parse(readFileSync(here('heldout-prompts.json'), 'utf8'));

const llama = await getLlama({ gpu: false, logLevel: LlamaLogLevel.error });
const model = await llama.loadModel({ modelPath });
const endTokens = ['<|im_end|>', '<|endoftext|>'].map((text) => model.tokenize(text, true)[0]);

function render(messages) {
  const body = messages.map(({ role, content }) => `<|im_start|>${role}\n${content}<|im_end|>\n`).join('');
  return `${body}<|im_start|>assistant\n`;
}

const asUser = (content) => render([{ role: 'user', content }]);

function createSampler(ignoreEnd) {
  const sampler = new llama._bindings.AddonSampler(model._model);
  const bias = ignoreEnd
    ? {
        tokenBiasKeys: Uint32Array.from(endTokens),
        tokenBiasValues: Float32Array.from(endTokens, () => -Infinity),
      }
    : {};
  sampler.applyConfig({ temperature: 0, ...bias });
  return sampler;
}

async function decodeWave(context, texts, { maxTokens, ignoreEnd }) {
  const native = context._ctx;
  const rows = texts.map((text, slot) => ({
    slot,
    position: 0,
    pending: model.tokenize(text, true),
    made: [],
    stopped: false,
    sampler: createSampler(ignoreEnd),
  }));
  for (
    let riding = rows;
    riding.length > 0;
    riding = riding.filter((row) => !row.stopped && row.made.length < maxTokens)
  ) {
    native.initBatch(riding.reduce((sum, row) => sum + row.pending.length, 0));
    const indexes = riding.map(({ slot, position, pending }) => {
      const lastOnly = Uint32Array.of(pending.length - 1);
      return native.addToBatch(slot, position, Uint32Array.from(pending), lastOnly)[0];
    });
    await native.decodeBatch();
    const tokens = await Promise.all(riding.map((row, i) => native.sampleToken(indexes[i], row.sampler)));
    for (const [i, row] of riding.entries()) {
      row.position += row.pending.length;
      row.pending = [tokens[i]];
      row.stopped = endTokens.includes(tokens[i]);
      if (!row.stopped) row.made.push(tokens[i]);
    }
  }
  for (const row of rows) native.disposeSequence(row.slot);
  return rows.map(({ made, stopped }) => ({ text: model.detokenize(made), stopped, length: made.length }));
}

async function generate(context, texts, waveSize, options) {
  const results = [];
  for (let start = 0; start < texts.length; start += waveSize)
    results.push(...(await decodeWave(context, texts.slice(start, start + waveSize), options)));
  return results;
}

function scoreHeldOut(answers) {
  let onTheme = 0;
  let exact = 0;
  for (const [i, { prompt, animal, place, weather, expected }] of heldOutStories.entries()) {
    const [firstSentence, secondSentence = ''] = answers[i].text.split('. ');
    const good =
      firstSentence.includes(` ${animal} named`) &&
      secondSentence.includes(place) &&
      secondSentence.includes(weather);
    if (good) onTheme++;
    if (answers[i].text === expected) exact++;
    else console.log(`not exact: ${prompt}\n  -> ${answers[i].text}`);
  }
  return { onTheme, exact, of: heldOutStories.length };
}

function countEqual(left, right) {
  const differing = left.flatMap((answer, i) => (answer.text === right[i].text ? [] : [i]));
  for (const i of differing)
    console.log(`differs: ${batchPrompts[i]}\n  A ${left[i].text}\n  B ${right[i].text}`);
  return `${left.length - differing.length}/${left.length}`;
}

async function measureSpeed(threads) {
  const context = await model.createContext({
    sequences: SLOTS,
    contextSize: 1024,
    batchSize: 1024,
    threads,
    flashAttention: true,
  });
  const texts = batchPrompts.slice(0, SLOTS).map(asUser);
  await decodeWave(context, texts, { maxTokens: 20, ignoreEnd: true });
  const prefillStarted = performance.now();
  await decodeWave(context, texts, { maxTokens: 1, ignoreEnd: true });
  const started = performance.now();
  await decodeWave(context, texts, { maxTokens: SPEED_TICKS + 1, ignoreEnd: true });
  const decodeMs = performance.now() - started - (started - prefillStarted);
  await context.dispose();
  return Math.round((SLOTS * SPEED_TICKS * 1000) / decodeMs);
}

const context = await model.createContext({
  sequences: SLOTS,
  contextSize: 1024,
  batchSize: 4096,
  threads: 1,
  flashAttention: true,
});
const texts = batchPrompts.map(asUser);
const alone = await generate(context, texts, 1, { maxTokens: ANSWER_TOKENS });
const together = await generate(context, texts, SLOTS, { maxTokens: ANSWER_TOKENS });
console.log('held out:', scoreHeldOut(alone.slice(0, heldOutStories.length)));
console.log('stopped alone:', alone.filter((answer) => answer.stopped).length, 'of', alone.length);
console.log('same alone and in a batch of 32:', countEqual(alone, together));
const endless = { maxTokens: ENDLESS_TOKENS, ignoreEnd: true };
const endlessTexts = texts.slice(0, 2 * SLOTS);
console.log(
  `same alone and in a batch of 32, ${ENDLESS_TOKENS} tokens without an end:`,
  countEqual(
    await generate(context, endlessTexts, 1, endless),
    await generate(context, endlessTexts, SLOTS, endless),
  ),
);
for (const threads of [1, 2])
  console.log(`generated tokens per second, ${threads} thread(s):`, await measureSpeed(threads));
await context.dispose();
await model.dispose();
process.exit(0);
