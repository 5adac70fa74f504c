/** Bounds how many lines are under way at a time. Who waits is served in order, so jobs share it evenly. */
export class LineGate {
  private readonly limit: () => number;
  private readonly waiting: (() => void)[] = [];
  private taken = 0;

  /** @param limit is asked at every turn: the number of slots changes as models are loaded and workers come and go */
  constructor(limit: () => number) {
    this.limit = limit;
  }

  get inFlight(): number {
    return this.taken;
  }

  /** Resolves when there is room; every `enter` needs one `leave`. */
  enter(): Promise<void> {
    return new Promise((resolve) => {
      this.waiting.push(resolve);
      this.admit();
    });
  }

  leave(): void {
    this.taken -= 1;
    this.admit();
  }

  private admit(): void {
    while (this.waiting.length > 0 && this.taken < this.limit()) {
      this.taken += 1;
      this.waiting.shift()!();
    }
  }
}
