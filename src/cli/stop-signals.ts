import { constants } from 'node:os';

export type StopSignal = 'SIGINT' | 'SIGTERM';

/** npm forwards Ctrl-C to a child that the terminal already told; that echo is not a second wish. */
const echoMs = 300;

/** The first signal asks to stop, a second one ends the process at once. */
export class StopSignals {
  /** Resolves with the first signal. */
  readonly first: Promise<StopSignal>;
  /** Aborts on the first signal. */
  readonly abortSignal: AbortSignal;
  private readonly listener: (signal: StopSignal) => void;

  /** @param endAtOnce gets the exit code; replaced by tests */
  constructor(endAtOnce: (exitCode: number) => void = process.exit) {
    const controller = new AbortController();
    this.abortSignal = controller.signal;
    let firstAtMs: number | null = null;
    let resolveFirst: (signal: StopSignal) => void = () => {};
    this.first = new Promise((resolve) => {
      resolveFirst = resolve;
    });
    this.listener = (signal) => {
      const nowMs = performance.now();
      if (firstAtMs === null) {
        firstAtMs = nowMs;
        // Before the abort, so that whoever races the two sees the signal and not its consequences.
        resolveFirst(signal);
        controller.abort(new Error(`stopped by ${signal}`));
      } else if (nowMs - firstAtMs > echoMs) {
        endAtOnce(exitCodeOf(signal));
      }
    };
    process.on('SIGINT', this.listener);
    process.on('SIGTERM', this.listener);
  }

  stopListening(): void {
    process.off('SIGINT', this.listener);
    process.off('SIGTERM', this.listener);
  }
}

/** 130 for SIGINT, 143 for SIGTERM, as shells count. */
export function exitCodeOf(signal: StopSignal): number {
  return 128 + constants.signals[signal];
}
