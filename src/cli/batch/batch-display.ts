import { formatCount, type Terminal } from '../terminal.js';

const barWidth = 30;
const redrawMs = 200;
const lineEveryMs = 10_000;

/** What the display reads; `Journal` satisfies it. */
export interface BatchProgress {
  readonly answered: number;
  readonly failed: number;
  readonly completionTokens: number;
}

/** Shows a run on standard error: a bar that redraws itself on a terminal, a line now and then elsewhere. */
export class BatchDisplay {
  private readonly terminal: Terminal;
  private readonly progress: BatchProgress;
  private readonly total: number;
  private readonly nowMs: () => number;
  private readonly answeredBefore: number;
  private readonly tokensBefore: number;
  private startedMs = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor(
    terminal: Terminal,
    progress: BatchProgress,
    total: number,
    nowMs: () => number = () => performance.now(),
  ) {
    this.terminal = terminal;
    this.progress = progress;
    this.total = total;
    this.nowMs = nowMs;
    this.answeredBefore = progress.answered;
    this.tokensBefore = progress.completionTokens;
  }

  start(): void {
    this.startedMs = this.nowMs();
    if (this.answeredBefore > 0) {
      const done = `${formatCount(this.answeredBefore)} of ${formatCount(this.total)}`;
      this.terminal.writeError(`going on: ${done} lines are answered already\n`);
    }
    const everyMs = this.terminal.isErrorInteractive ? redrawMs : lineEveryMs;
    this.timer = setInterval(() => this.draw(), everyMs);
    this.timer.unref();
  }

  /** Leaves the last state on the screen. */
  stop(): void {
    clearInterval(this.timer);
    this.draw();
    if (this.terminal.isErrorInteractive) this.terminal.writeError('\n');
  }

  private draw(): void {
    const text = this.describe();
    const filled = Math.round((this.progress.answered / this.total) * barWidth);
    const bar = `\r\u001b[2K[${'#'.repeat(filled).padEnd(barWidth)}] ${text}`;
    this.terminal.writeError(this.terminal.isErrorInteractive ? bar : `${text}\n`);
  }

  /** `120/2,000 lines · 3 failed · 14.2 lines/s · 410 tok/s · 2:12 left` */
  describe(): string {
    const { answered, failed, completionTokens } = this.progress;
    const seconds = Math.max(0.001, (this.nowMs() - this.startedMs) / 1000);
    const linesPerSecond = (answered - this.answeredBefore) / seconds;
    const left = this.total - answered;
    return [
      `${formatCount(answered)}/${formatCount(this.total)} lines`,
      ...(failed > 0 ? [`${formatCount(failed)} failed`] : []),
      `${linesPerSecond.toFixed(1)} lines/s`,
      `${formatCount(Math.round((completionTokens - this.tokensBefore) / seconds))} tok/s`,
      left === 0
        ? `done in ${seconds.toFixed(1)} s`
        : linesPerSecond > 0
          ? `${formatSeconds(left / linesPerSecond)} left`
          : 'starting',
    ].join(' · ');
  }
}

/** `1:02:03`, `2:12`. */
function formatSeconds(seconds: number): string {
  const whole = Math.round(seconds);
  const hours = Math.floor(whole / 3600);
  const minutes = Math.floor((whole % 3600) / 60);
  const two = (value: number) => String(value).padStart(2, '0');
  const tail = two(whole % 60);
  return hours > 0 ? `${hours}:${two(minutes)}:${tail}` : `${minutes}:${tail}`;
}
