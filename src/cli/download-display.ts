import type { DownloadProgress } from '../models/progress.js';
import { formatBytes, type Terminal } from './terminal.js';

const barWidth = 30;
const redrawMs = 100;
const percentPerLine = 10;
const bytesPerLine = 64 * 1_048_576;

/** Shows a download on standard error: one bar that redraws itself on a terminal, a line per 10% elsewhere. */
export class DownloadDisplay {
  private readonly terminal: Terminal;
  private barShown = false;
  private drawnAtMs = 0;
  private lastStep = -1;

  constructor(terminal: Terminal) {
    this.terminal = terminal;
  }

  /** Writes one line; the bar gives way to it. */
  readonly report = (line: string): void => {
    this.clearBar();
    this.lastStep = -1;
    this.terminal.writeError(`${line}\n`);
  };

  readonly progress = (progress: DownloadProgress): void => {
    if (this.terminal.isErrorInteractive) this.drawBar(progress);
    else this.writeStep(progress);
  };

  private drawBar(progress: DownloadProgress): void {
    const nowMs = performance.now();
    if (this.barShown && nowMs - this.drawnAtMs < redrawMs) return;
    this.drawnAtMs = nowMs;
    this.barShown = true;
    const fraction = fractionOf(progress);
    const bar = fraction === null ? '' : `[${'#'.repeat(Math.round(fraction * barWidth)).padEnd(barWidth)}] `;
    this.terminal.writeError(`\r\u001b[2K  ${bar}${describe(progress)}`);
  }

  private clearBar(): void {
    if (this.barShown) this.terminal.writeError('\r\u001b[2K');
    this.barShown = false;
  }

  private writeStep(progress: DownloadProgress): void {
    const fraction = fractionOf(progress);
    const step =
      fraction === null
        ? Math.floor(progress.downloadedBytes / bytesPerLine)
        : Math.floor((fraction * 100) / percentPerLine);
    if (step <= this.lastStep) return;
    this.lastStep = step;
    this.terminal.writeError(`  ${describe(progress)}\n`);
  }
}

function fractionOf({ downloadedBytes, totalBytes }: DownloadProgress): number | null {
  return totalBytes === null ? null : Math.min(1, downloadedBytes / totalBytes);
}

function describe(progress: DownloadProgress): string {
  const fraction = fractionOf(progress);
  if (fraction === null) return formatBytes(progress.downloadedBytes);
  return `${Math.floor(fraction * 100)}% of ${formatBytes(progress.totalBytes!)}`;
}
