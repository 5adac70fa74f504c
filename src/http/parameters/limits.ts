/** Bounds on what one request may ask, beyond those of the model's window. */
export const requestLimits = {
  messages: 1024,
  contentParts: 1024,
  /** Prompts in one completion request. */
  prompts: 256,
  choicesPerPrompt: 16,
  stopStrings: 4,
  stopStringCharacters: 256,
  logitBiasEntries: 1024,
  logitBias: 100,
  userCharacters: 512,
  cacheSaltCharacters: 256,
  serviceTierCharacters: 64,
  /**
   * Text longer than this many characters per token of the window is refused without tokenising it, which would hold
   * up every running request (about a millisecond per thousand characters). Ordinary text has 3 to 5 per token.
   */
  charactersPerToken: 16,
} as const;
