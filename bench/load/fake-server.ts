/**
 * A stand-in server for measuring the load generator: every stream gets tokens at a fixed rate, and each token's text
 * is the wall-clock time at which it was written, in microseconds, so that the receiver can tell how late it looked.
 * Run as a child process; it prints its port. Environment: FAKE_TOKENS_PER_SECOND.
 */
import { createServer, type ServerResponse } from 'node:http';

interface Stream {
  response: ServerResponse;
  left: number;
  sent: number;
  promptTokens: number;
}

const tokensPerSecond = Number(process.env.FAKE_TOKENS_PER_SECOND ?? 10);
/** Streams are served in slices, so that not all of them write in the same millisecond. */
const slices = Math.max(1, Math.round(1000 / tokensPerSecond / 5));
const streamsBySlice: Set<Stream>[] = Array.from({ length: slices }, () => new Set());
let nextSlice = 0;
let turn = 0;

export function nowMicros(): number {
  return Math.round((performance.timeOrigin + performance.now()) * 1000);
}

function chunk(choice: unknown, usage?: unknown): string {
  return `data: ${JSON.stringify({ object: 'text_completion', choices: choice ? [choice] : [], usage: usage ?? null })}\n\n`;
}

function writeToken(stream: Stream): boolean {
  stream.sent += 1;
  stream.left -= 1;
  const last = stream.left === 0;
  stream.response.write(chunk({ index: 0, text: `${nowMicros()} `, finish_reason: last ? 'length' : null }));
  if (!last) return true;
  const usage = { prompt_tokens: stream.promptTokens, completion_tokens: stream.sent };
  stream.response.end(`${chunk(undefined, usage)}data: [DONE]\n\n`);
  return false;
}

setInterval(
  () => {
    turn = (turn + 1) % slices;
    const slice = streamsBySlice[turn] as Set<Stream>;
    for (const stream of slice) {
      if (stream.response.destroyed || !writeToken(stream)) slice.delete(stream);
    }
  },
  1000 / tokensPerSecond / slices,
);

const server = createServer((request, response) => {
  if (request.method === 'GET') {
    response.setHeader('content-type', 'application/json');
    return response.end(JSON.stringify({ data: [{ id: 'fake' }] }));
  }
  let body = '';
  request.setEncoding('utf8');
  request.on('data', (text: string) => {
    body += text;
  });
  request.on('end', () => {
    const { max_tokens: left, prompt } = JSON.parse(body) as { max_tokens: number; prompt: string };
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    response.flushHeaders();
    nextSlice = (nextSlice + 1) % slices;
    (streamsBySlice[nextSlice] as Set<Stream>).add({
      response,
      left,
      sent: 0,
      promptTokens: prompt.split(' ').length,
    });
  });
});
server.keepAliveTimeout = 60_000;
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  process.send?.({ port: typeof address === 'object' ? address?.port : 0 });
});
process.on('disconnect', () => process.exit(0));
