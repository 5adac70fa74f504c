/** One chat turn, already flattened to text. */
export interface ChatMessage {
  role: string;
  content: string;
  name?: string;
}

/** Text to tokens and back, and the model's own chat template. Synchronous; no state between calls. */
export interface TextCodec {
  /**
   * @param parseSpecialTokens whether text such as `<|im_end|>` becomes the special token or stays plain text
   */
  encode(text: string, parseSpecialTokens: boolean): Uint32Array;
  /**
   * Special tokens are left out: they are no part of what a model says. Bytes that do not form a whole
   * character at the end come out as U+FFFD.
   * @param precedingTokens tokens before `tokens`; some vocabularies need them to place a space
   */
  decode(tokens: readonly number[], precedingTokens: readonly number[]): string;
  /** All tokens, the special ones in their spelling such as `<|im_end|>`. */
  spell(tokens: readonly number[]): string;
  /**
   * The prompt text of a conversation with the assistant's turn opened, by the model's own template.
   * @throws ServiceError `invalid_value` with the template's own complaint
   */
  renderChat(messages: readonly ChatMessage[]): string;
  /** Whether a prompt starts with the beginning-of-sequence token; null: this model has none. */
  readonly beginToken: number | null;
  readonly vocabularySize: number;
}
