import type { LlamaModel, Token } from 'node-llama-cpp';
import { ChatTemplate } from '../chat-template.js';
import type { ChatMessage, TextCodec } from '../text-codec.js';

/** The vocabulary and the chat template of a GGUF file. */
export class LlamaCodec implements TextCodec {
  readonly beginToken: number | null;
  readonly vocabularySize: number;
  private readonly model: LlamaModel;
  private readonly template: ChatTemplate;

  constructor(model: LlamaModel, vocabularySize: number) {
    const { tokens, fileInfo } = model;
    this.model = model;
    this.beginToken = tokens.shouldPrependBosToken ? tokens.bos : null;
    this.vocabularySize = vocabularySize;
    const source = fileInfo.metadata.tokenizer?.chat_template;
    this.template = new ChatTemplate(source, tokens.bosString ?? '', tokens.eosString ?? '');
  }

  encode(text: string, parseSpecialTokens: boolean): Uint32Array {
    return Uint32Array.from(this.model.tokenize(text, parseSpecialTokens));
  }

  decode(tokens: readonly number[], precedingTokens: readonly number[]): string {
    return this.model.detokenize(tokens as readonly Token[], false, precedingTokens as readonly Token[]);
  }

  spell(tokens: readonly number[]): string {
    return this.model.detokenize(tokens as readonly Token[], true);
  }

  renderChat(messages: readonly ChatMessage[]): string {
    return this.template.render(messages);
  }
}
