import type { AnsweredReason } from './generation-run.js';
import type { Usage } from './usage.js';

/** What all chunks and the answer of one request share. */
export interface AnswerIdentity {
  /** `chatcmpl-...` or `cmpl-...`. */
  id: string;
  createdSeconds: number;
  model: string;
  fingerprint: string;
}

export interface FinishedChoice {
  text: string;
  reason: AnsweredReason;
}

/** How an answer looks on the wire: as one JSON object, or cut into SSE data lines. */
export interface AnswerShape {
  readonly idPrefix: string;
  answer(identity: AnswerIdentity, choices: readonly FinishedChoice[], usage: Usage): object;
  /** @param withUsage whether every chunk carries a `usage` field */
  chunks(identity: AnswerIdentity, withUsage: boolean): ChunkWriter;
}

/** Makes complete SSE events (`data: {...}\n\n`). Runs for every token, so all that is constant is prepared. */
export interface ChunkWriter {
  /** @param first whether it is the first chunk of this choice */
  text(choice: number, text: string, first: boolean): string;
  /** @param first whether no text preceded it */
  finish(choice: number, reason: AnsweredReason, first: boolean): string;
  usage(usage: Usage): string;
}

/** The opening of every chunk up to and including `"choices":[`. */
export function chunkHead(object: string, identity: AnswerIdentity): string {
  const head = JSON.stringify({
    id: identity.id,
    object,
    created: identity.createdSeconds,
    model: identity.model,
    system_fingerprint: identity.fingerprint,
  });
  return `data: ${head.slice(0, -1)},"choices":[`;
}

/** The end of every chunk that carries a choice. */
export function chunkTail(withUsage: boolean): string {
  return withUsage ? '],"usage":null}\n\n' : ']}\n\n';
}

export function usageChunk(head: string, usage: Usage): string {
  return `${head}],"usage":${JSON.stringify(usage)}}\n\n`;
}
