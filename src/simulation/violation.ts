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
