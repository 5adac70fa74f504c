import { type AnswerShape, chunkHead, chunkTail, usageChunk } from './answer-shape.js';

/** `chat.completion` and `chat.completion.chunk`. The first chunk of a choice carries its role and its first text. */
export const chatShape: AnswerShape = {
  idPrefix: 'chatcmpl-',

  answer(identity, choices, usage) {
    return {
      id: identity.id,
      object: 'chat.completion',
      created: identity.createdSeconds,
      model: identity.model,
      system_fingerprint: identity.fingerprint,
      choices: choices.map((choice, index) => ({
        index,
        message: { role: 'assistant', content: choice.text, refusal: null },
        logprobs: null,
        finish_reason: choice.reason,
      })),
      usage,
    };
  },

  chunks(identity, withUsage) {
    const head = chunkHead('chat.completion.chunk', identity);
    const tail = chunkTail(withUsage);
    const unfinished = `},"logprobs":null,"finish_reason":null}${tail}`;
    const delta = (choice: number, first: boolean) =>
      `${head}{"index":${choice},"delta":{${first ? '"role":"assistant","content":' : ''}`;
    return {
      text: (choice, text, first) =>
        `${delta(choice, first)}${first ? '' : '"content":'}${JSON.stringify(text)}${unfinished}`,
      finish: (choice, reason, first) =>
        `${delta(choice, first)}${first ? '""' : ''}},"logprobs":null,"finish_reason":"${reason}"}${tail}`,
      usage: (usage) => usageChunk(head, usage),
    };
  },
};
