import { readdirSync, readFileSync } from 'node:fs';
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';

const ticksPerSecond = 100;

/** What this process, and everybody else on the machine, took while something was measured. */
export interface LoadReading {
  cpuShare: number;
  eventLoopDelayP99Ms: number;
  foreignCores?: number;
}

/**
 * Measures the measurer. With the pid of the server (Linux), also how many cores went to processes that are neither
 * server nor generator: a run next to a busy compiler is then visible as such.
 */
export class LoadMeter {
  private readonly serverPid: number | undefined;
  private readonly histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: 5 });
  private readonly startedAtMs = performance.now();
  private readonly ownBefore = process.cpuUsage();
  private readonly machineBefore: number | undefined;
  private readonly serverBefore: number | undefined;

  constructor(serverPid?: number) {
    this.serverPid = serverPid;
    this.machineBefore = machineBusySeconds();
    this.serverBefore = serverPid === undefined ? undefined : processTreeSeconds(serverPid);
    this.histogram.enable();
  }

  stop(): LoadReading {
    this.histogram.disable();
    const seconds = (performance.now() - this.startedAtMs) / 1000;
    const own = process.cpuUsage(this.ownBefore);
    const ownSeconds = (own.user + own.system) / 1e6;
    // The histogram counts its own 5 ms sampling period.
    const eventLoopDelayP99Ms = Math.max(0, this.histogram.percentile(99) / 1e6 - 5);
    const foreignCores = this.foreignCores(seconds, ownSeconds);
    return {
      cpuShare: ownSeconds / seconds,
      eventLoopDelayP99Ms,
      ...(foreignCores === undefined ? {} : { foreignCores }),
    };
  }

  private foreignCores(seconds: number, ownSeconds: number): number | undefined {
    const machineAfter = machineBusySeconds();
    if (this.serverPid === undefined || this.machineBefore === undefined || machineAfter === undefined)
      return undefined;
    const server = processTreeSeconds(this.serverPid) - (this.serverBefore ?? 0);
    return Math.max(0, (machineAfter - this.machineBefore - server - ownSeconds) / seconds);
  }
}

/** CPU seconds of all processes since boot; undefined where /proc does not tell. */
export function machineBusySeconds(): number | undefined {
  try {
    const fields = readFileSync('/proc/stat', 'utf8')
      .split('\n', 1)[0]!
      .trim()
      .split(/\s+/)
      .slice(1)
      .map(Number);
    const [user = 0, nice = 0, system = 0, , , irq = 0, softIrq = 0] = fields;
    return (user + nice + system + irq + softIrq) / ticksPerSecond;
  } catch {
    return undefined;
  }
}

/** CPU seconds of a process and its descendants that are alive now. */
export function processTreeSeconds(rootPid: number): number {
  const processes = new Map<number, { parent: number; ticks: number }>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = statOf(Number(name));
    if (stat) processes.set(Number(name), stat);
  }
  const isInside = (pid: number): boolean => {
    for (let at: number | undefined = pid; at !== undefined && at > 1; at = processes.get(at)?.parent) {
      if (at === rootPid) return true;
    }
    return false;
  };
  let ticks = 0;
  for (const [pid, stat] of processes) if (isInside(pid)) ticks += stat.ticks;
  return ticks / ticksPerSecond;
}

function statOf(pid: number): { parent: number; ticks: number } | undefined {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    // The name in parentheses may hold spaces; fields are counted after it.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    return { parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) };
  } catch {
    return undefined;
  }
}
