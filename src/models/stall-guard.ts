/** Aborts a download whose byte count stops growing. */
export class StallGuard {
  readonly signal: AbortSignal;
  private readonly controller = new AbortController();
  private readonly stallMs: number;
  private timer: NodeJS.Timeout;
  private bytes = 0;

  constructor(firstByteMs: number, stallMs: number, parent?: AbortSignal) {
    this.stallMs = stallMs;
    this.signal =
      parent === undefined ? this.controller.signal : AbortSignal.any([this.controller.signal, parent]);
    this.timer = this.arm(firstByteMs);
  }

  /** The stall, if that is what ended the download. */
  get reason(): unknown {
    return this.controller.signal.aborted ? this.controller.signal.reason : null;
  }

  sawBytes(total: number): void {
    if (total <= this.bytes) return;
    this.bytes = total;
    clearTimeout(this.timer);
    this.timer = this.arm(this.stallMs);
  }

  /** Rejects as soon as the signal fires, even when `work` does not listen to it. */
  async race<Result>(work: Promise<Result>): Promise<Result> {
    work.catch(() => {});
    this.signal.throwIfAborted();
    return await Promise.race([
      work,
      new Promise<never>((_, reject) =>
        this.signal.addEventListener('abort', () => reject(this.signal.reason), { once: true }),
      ),
    ]);
  }

  stop(): void {
    clearTimeout(this.timer);
  }

  private arm(waitMs: number): NodeJS.Timeout {
    return setTimeout(
      () => this.controller.abort(new Error(`no data for ${Math.round(waitMs / 100) / 10} s`)),
      waitMs,
    );
  }
}
