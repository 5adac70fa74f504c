import { ChatTemplate } from '../chat-template.js';
import type { ChatMessage, TextCodec } from '../text-codec.js';
import { simulatedVocabularySize } from './simulated-slots.js';

/** One token per UTF-8 byte, ChatML as template. */
export class SimulatedCodec implements TextCodec {
  readonly beginToken = null;
  readonly vocabularySize = simulatedVocabularySize;
  private readonly template = new ChatTemplate(undefined, '', '');

  encode(text: string): Uint32Array {
    return Uint32Array.from(Buffer.from(text, 'utf8'));
  }

  decode(tokens: readonly number[]): string {
    return Buffer.from(tokens.filter((token) => token < 256)).toString('utf8');
  }

  spell(tokens: readonly number[]): string {
    return Buffer.concat(tokens.map((token) => Buffer.from(token < 256 ? [token] : `<|${token}|>`))).toString(
      'utf8',
    );
  }

  renderChat(messages: readonly ChatMessage[]): string {
    return this.template.render(messages);
  }
}
