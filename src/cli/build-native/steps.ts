import { spawn } from 'node:child_process';

const keptOutput = 6_000;

interface StepOptions {
  /** Gets every line the program prints. */
  onLine?: (line: string) => void;
  /** Ends the program and all it started. */
  signal?: AbortSignal;
}

/** Runs a program to its end. @throws Error with the end of its output, or the reason of the signal */
export function runStep(program: string, args: readonly string[], options: StepOptions = {}): Promise<void> {
  const { onLine = () => {}, signal } = options;
  return new Promise((resolve, reject) => {
    // A process group of its own: whoever stops this stops the compilers too, wherever the signal went.
    const ownGroup = process.platform !== 'win32';
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: ownGroup });
    let tail = '';
    const take = (chunk: Buffer): void => {
      const text = chunk.toString();
      tail = (tail + text).slice(-keptOutput);
      for (const line of text.split(/[\r\n]+/)) if (line) onLine(line);
    };
    const stop = (): void => {
      if (ownGroup && child.pid !== undefined) process.kill(-child.pid, 'SIGTERM');
      else child.kill();
    };
    if (signal?.aborted) stop();
    signal?.addEventListener('abort', stop);
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.on('error', reject);
    child.on('close', (code) => {
      signal?.removeEventListener('abort', stop);
      if (signal?.aborted) reject(signal.reason);
      else if (code === 0) resolve();
      else reject(new Error(`${program} ${args.join(' ')} ended with code ${code}:\n${tail}`));
    });
  });
}

/** Of the `[12/345]` of Ninja and the `[ 42%]` of make, one line for every tenth. */
export function buildProgress(say: (line: string) => void): (line: string) => void {
  let lastTenth = 0;
  return (line) => {
    const [, done, total, percent] = /^\[(?:(\d+)\/(\d+)|\s*(\d+)%)\]/.exec(line) ?? [];
    if (!done && !percent) return;
    const tenth = Math.floor(percent ? Number(percent) / 10 : (10 * Number(done)) / Number(total));
    if (tenth > lastTenth) say(`  ${tenth * 10}%`);
    lastTenth = Math.max(lastTenth, tenth);
  };
}
