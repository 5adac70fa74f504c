/** A broken invariant: a bug in the scheduler or in its driver, never bad input. */
export class InvariantError extends Error {
  override readonly name = 'InvariantError';
}

/** Stays on in production: wrong rows abort the whole process inside llama.cpp, an exception here does not. */
export function invariant(condition: boolean, message: () => string): asserts condition {
  if (!condition) throw new InvariantError(message());
}
