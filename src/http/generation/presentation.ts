import type { AnswerIdentity, AnswerShape } from './answer-shape.js';
import { chatShape } from './chat-shape.js';
import { completionShape } from './completion-shape.js';

/** How a stream's events are written; kept with a stream so that any process can write the rest of it. */
export interface Presentation {
  identity: AnswerIdentity;
  includeUsage: boolean;
}

/** @throws SyntaxError */
export function parsePresentation(text: string): Presentation & { shape: AnswerShape } {
  const presentation = JSON.parse(text) as Presentation;
  const isChat = presentation.identity.id.startsWith(chatShape.idPrefix);
  return { ...presentation, shape: isChat ? chatShape : completionShape };
}
