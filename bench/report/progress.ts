import type { ProgressState } from '../scenarios/run-scenario.js';

const liveEveryMs = 200;
const plainEveryMs = 5000;

/** One line that rewrites itself on a terminal; a plain line now and then elsewhere. */
export class ProgressLine {
  private readonly stream: NodeJS.WriteStream;
  private timer: NodeJS.Timeout | undefined;

  constructor(stream: NodeJS.WriteStream = process.stderr) {
    this.stream = stream;
  }

  start(title: string, state: ProgressState): void {
    this.stop();
    const startedAtMs = performance.now();
    let lastTokens = 0;
    let lastAtMs = startedAtMs;
    const everyMs = this.stream.isTTY ? liveEveryMs : plainEveryMs;
    let smoothRate = 0;
    this.timer = setInterval(() => {
      const nowMs = performance.now();
      const rate = ((state.tokens - lastTokens) * 1000) / (nowMs - lastAtMs);
      smoothRate = lastTokens === 0 ? rate : smoothRate + Math.min(1, everyMs / 1000) * (rate - smoothRate);
      lastTokens = state.tokens;
      lastAtMs = nowMs;
      this.write(progressText(title, state, (nowMs - startedAtMs) / 1000, smoothRate));
    }, everyMs);
    this.timer.unref();
    if (!this.stream.isTTY) this.write(title);
  }

  stop(): void {
    if (this.timer) clearInterval(this.timer);
    this.timer = undefined;
    if (this.stream.isTTY) this.stream.write('\r\x1b[K');
  }

  /** A line that stays. */
  print(line: string): void {
    if (this.stream.isTTY) this.stream.write('\r\x1b[K');
    this.stream.write(`${line}\n`);
  }

  private write(line: string): void {
    if (!this.stream.isTTY) this.stream.write(`${line}\n`);
    else this.stream.write(`\r\x1b[K${line.slice(0, Math.max(20, (this.stream.columns ?? 80) - 1))}`);
  }
}

function progressText(title: string, state: ProgressState, seconds: number, tokensPerSecond: number): string {
  const parts = [
    `${title}${state.phase ? ` · ${state.phase}` : ''}`,
    `${seconds.toFixed(0)} s`,
    `${state.inFlight} running`,
    `${state.finished} done`,
    `${tokensPerSecond.toFixed(0)} tok/s`,
  ];
  if (state.rejected > 0) parts.push(`${state.rejected} rejected`);
  if (state.failed > 0) parts.push(`${state.failed} failed`);
  return parts.join(' · ');
}
