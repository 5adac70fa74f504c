import type { ServiceFailure } from '../errors.js';
import type { GenerationEvent, GenerationRequest, ResumePoint } from '../serving/serving-core.js';
import { choicesOf } from './job-cost.js';

/** What one entry of a request's stream says; keys are short because there are many. */
export type Frame =
  /** An attempt begins. */
  | { s: string }
  /** Text and tokens of choice `c`, the first of them computed at `at` (wall clock milliseconds). */
  | { c: number; t: string; k: number[]; at: number }
  /** Choice `c` has ended for reason `r`, with prompt, cached and completion tokens. */
  | { c: number; r: FinishedEvent['reason']; u: [number, number, number]; x?: ServiceFailure; at: number };

type FinishedEvent = Extract<GenerationEvent, { type: 'finished' }>;

export function frameOf(event: GenerationEvent, atMs: number): Frame {
  const { choice: c } = event;
  if (event.type === 'text') return { c, t: event.text, k: [...event.tokens], at: atMs };
  const { promptTokens, cachedTokens, completionTokens } = event.usage;
  const frame: Frame = { c, r: event.reason, u: [promptTokens, cachedTokens, completionTokens], at: atMs };
  return event.failure ? { ...frame, x: event.failure } : frame;
}

/** @returns null for a frame that only opens an attempt */
export function eventOf(frame: Frame, id: string): GenerationEvent | null {
  if ('s' in frame) return null;
  if ('t' in frame) return { type: 'text', choice: frame.c, text: frame.t, tokens: frame.k, id };
  const [promptTokens, cachedTokens, completionTokens] = frame.u;
  return {
    type: 'finished',
    choice: frame.c,
    reason: frame.r,
    usage: { promptTokens, cachedTokens, completionTokens },
    ...(frame.x && { failure: frame.x }),
    id,
  };
}

/** @throws SyntaxError */
export function parseFrame(text: string): Frame {
  return JSON.parse(text) as Frame;
}

/** What earlier attempts have already sent, choice by choice. */
export function resumeFrom(
  request: Pick<GenerationRequest, 'prompts' | 'choicesPerPrompt'>,
  texts: readonly string[],
): ResumePoint[] {
  const points = Array.from({ length: choicesOf(request) }, () => ({
    tokens: [] as number[],
    finished: false,
  }));
  for (const text of texts) {
    const frame = parseFrame(text);
    if ('s' in frame) continue;
    const point = points[frame.c]!;
    if ('t' in frame) for (const token of frame.k) point.tokens.push(token);
    else point.finished = true;
  }
  return points;
}

/** Whether a client has seen anything of an answer that goes on. */
export function hasTokens(resume: readonly ResumePoint[] | null | undefined): boolean {
  return resume?.some(({ tokens }) => tokens.length > 0) ?? false;
}
