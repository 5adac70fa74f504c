import { spawn } from 'node:child_process';

const keptOutput = 4_000;

/** Runs a program to its end. @param onLine gets every line it prints @throws Error with the end of its output */
export function runStep(
  program: string,
  args: readonly string[],
  onLine: (line: string) => void = () => {},
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    let tail = '';
    const take = (chunk: Buffer): void => {
      const text = chunk.toString();
      tail = (tail + text).slice(-keptOutput);
      for (const line of text.split(/[\r\n]+/)) if (line) onLine(line);
    };
    child.stdout.on('data', take);
    child.stderr.on('data', take);
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve();
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
