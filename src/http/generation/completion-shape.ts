import { type AnswerShape, chunkHead, chunkTail, usageChunk } from './answer-shape.js';

/** `text_completion`, for whole answers and chunks alike. */
export const completionShape: AnswerShape = {
  idPrefix: 'cmpl-',

  answer(identity, choices, usage) {
    return {
      id: identity.id,
      object: 'text_completion',
      created: identity.createdSeconds,
      model: identity.model,
      system_fingerprint: identity.fingerprint,
      choices: choices.map((choice, index) => ({
        index,
        text: choice.text,
        logprobs: null,
        finish_reason: choice.reason,
      })),
      usage,
    };
  },

  chunks(identity, withUsage) {
    const head = chunkHead('text_completion', identity);
    const tail = chunkTail(withUsage);
    const unfinished = `,"logprobs":null,"finish_reason":null}${tail}`;
    return {
      text: (choice, text) => `${head}{"index":${choice},"text":${JSON.stringify(text)}${unfinished}`,
      finish: (choice, reason) =>
        `${head}{"index":${choice},"text":"","logprobs":null,"finish_reason":"${reason}"}${tail}`,
      usage: (usage) => usageChunk(head, usage),
    };
  },
};
