import { readFileSync } from 'node:fs';

/** A process id is used again after a while; the start time tells the two apart where the system says it. */
export function isProcessAlive(pid: number, start: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return false;
  }
  return processStart(pid) === start;
}

/** Clock ticks after boot at which a process started; 0 where there is no /proc. */
export function processStart(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const afterName = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return Number(afterName[19]);
  } catch {
    return 0;
  }
}
