/**
 * What one would write oneself in an afternoon: fastify over node-llama-cpp's public API, one context sequence per
 * request, `sequence.evaluate()` for the tokens (which batches the sequences by itself). With --slots 1: serial.
 */
import { parseArgs } from 'node:util';
import Fastify, { type FastifyReply } from 'fastify';
import { type LlamaContextSequence, LlamaLogLevel, type Token } from 'node-llama-cpp';
import { openNativeLibrary } from '../../src/models/native-build.js';

interface CompletionBody {
  prompt: string;
  max_tokens?: number;
  temperature?: number;
  ignore_eos?: boolean;
  stream?: boolean;
}

const { values: flags } = parseArgs({
  options: {
    model: { type: 'string' },
    port: { type: 'string', default: '8081' },
    slots: { type: 'string', default: '1' },
    context: { type: 'string', default: '1024' },
    threads: { type: 'string', default: '2' },
    batch: { type: 'string', default: '512' },
  },
});

const llama = await openNativeLibrary('prebuilt', { logLevel: LlamaLogLevel.warn });
const model = await llama.loadModel({ modelPath: flags.model as string });
const context = await model.createContext({
  sequences: Number(flags.slots),
  contextSize: Number(flags.context),
  batchSize: Number(flags.batch),
  threads: Number(flags.threads),
  flashAttention: true,
});
const free: LlamaContextSequence[] = Array.from({ length: Number(flags.slots) }, () => context.getSequence());
const waiting: ((sequence: LlamaContextSequence) => void)[] = [];

async function acquire(): Promise<LlamaContextSequence> {
  return free.pop() ?? new Promise((resolve) => waiting.push(resolve));
}

async function release(sequence: LlamaContextSequence): Promise<void> {
  await sequence.clearHistory();
  const next = waiting.shift();
  if (next) next(sequence);
  else free.push(sequence);
}

function chunk(choices: unknown[], usage?: unknown): string {
  return `data: ${JSON.stringify({ object: 'text_completion', model: 'naive', choices, ...(usage ? { usage } : {}) })}\n\n`;
}

/** Text of the new tokens, once they are whole characters. */
function decoder(): (token: Token) => string {
  let before: Token[] = [];
  let pending: Token[] = [];
  return (token) => {
    pending.push(token);
    const text = model.detokenize(pending, false, before);
    if (text.endsWith('\ufffd')) return '';
    before = [...before, ...pending].slice(-4);
    pending = [];
    return text;
  };
}

async function generate(
  sequence: LlamaContextSequence,
  body: CompletionBody,
  reply: FastifyReply,
): Promise<void> {
  const prompt = model.tokenize(body.prompt);
  const limit = body.max_tokens ?? 128;
  const decode = decoder();
  let count = 0;
  let finishReason = 'stop';
  for await (const token of sequence.evaluate(prompt, {
    temperature: body.temperature ?? 0,
    yieldEogToken: body.ignore_eos ?? false,
  })) {
    if (reply.raw.destroyed) return;
    count += 1;
    const text = decode(token);
    if (text !== '') reply.raw.write(chunk([{ index: 0, text, finish_reason: null }]));
    if (count < limit) continue;
    finishReason = 'length';
    break;
  }
  reply.raw.write(chunk([{ index: 0, text: '', finish_reason: finishReason }]));
  reply.raw.write(chunk([], { prompt_tokens: prompt.length, completion_tokens: count }));
  reply.raw.end('data: [DONE]\n\n');
}

const server = Fastify();
server.get('/health', () => ({ status: 'ok' }));
server.get('/v1/models', () => ({ data: [{ id: 'naive' }] }));
server.post<{ Body: CompletionBody }>('/v1/completions', async (request, reply) => {
  reply.hijack();
  reply.raw.writeHead(200, { 'content-type': 'text/event-stream' });
  reply.raw.flushHeaders();
  const sequence = await acquire();
  try {
    if (!reply.raw.destroyed) await generate(sequence, request.body, reply);
  } catch (error) {
    reply.raw.destroy(error as Error);
  } finally {
    await release(sequence);
  }
});
process.on('SIGTERM', () => process.exit(0));
await server.listen({ port: Number(flags.port), host: '127.0.0.1' });
