/** An invariant that does not hold: the run ends here. */
export class Violation extends Error {
  override readonly name = 'Violation';
  /** Which invariant, e.g. `kv-length`. */
  readonly invariant: string;

  constructor(invariant: string, message: string) {
    super(message);
    this.invariant = invariant;
  }
}

export function require(condition: boolean, invariant: string, message: () => string): asserts condition {
  if (!condition) throw new Violation(invariant, message());
}

/** @returns the violation that an error is: a failed assertion of the scheduler is one too, and so is a crash */
export function asViolation(error: unknown): Violation {
  if (error instanceof Violation) return error;
  const isAssertion = error instanceof Error && error.name === 'InvariantError';
  const text = error instanceof Error ? (isAssertion ? error.message : `${error.stack}`) : String(error);
  return new Violation(isAssertion ? 'scheduler-assertion' : 'crash', text);
}
