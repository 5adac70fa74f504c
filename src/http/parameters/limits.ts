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
} as const;
