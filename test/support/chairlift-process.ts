import { type ChildProcess, spawn } from 'node:child_process';
import { get } from './http-client.js';

const children = new Set<ChildProcess>();

/** `chairlift serve` in a process of its own, from the sources, on a port the system chose. */
export class ChairliftProcess {
  readonly url: string;
  private readonly child: ChildProcess;
  private readonly log: () => string;

  private constructor(child: ChildProcess, url: string, log: () => string) {
    this.child = child;
    this.url = url;
    this.log = log;
  }

  /** @throws Error with what the process said, if it ends before it serves */
  static async start(options: readonly string[]): Promise<ChairliftProcess> {
    const words = ['--import', 'tsx', 'src/cli/chairlift.cts', 'serve', '--port', '0', '--log-level', 'warn'];
    const environment = { PATH: process.env.PATH, HOME: process.env.HOME };
    const child = spawn(process.execPath, [...words, ...options], {
      env: environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    children.add(child);
    let output = '';
    let errors = '';
    child.stderr!.on('data', (text) => {
      errors += text;
    });
    const url = await new Promise<string>((resolve, reject) => {
      child.once('exit', () => reject(new Error(`chairlift ended at its start: ${output}${errors}`)));
      child.stdout!.on('data', (text) => {
        output += text;
        const address = /address +(\S+)/.exec(output);
        if (address && output.includes('Ctrl-C')) resolve(address[1]!);
      });
    });
    return new ChairliftProcess(child, url, () => errors);
  }

  /** What it logged: warnings and worse. */
  get logged(): string {
    return this.log();
  }

  get isAlive(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.child.kill(signal);
  }

  async kill(): Promise<void> {
    await kill(this.child);
  }

  async health(): Promise<Health> {
    return JSON.parse((await get(`${this.url}/health`)).text) as Health;
  }

  /** @param series name and labels as in the exposition format; NaN: there is none */
  async metric(series: string): Promise<number> {
    const { text } = await get(`${this.url}/metrics`);
    const line = text.split('\n').find((candidate) => candidate.startsWith(`${series} `));
    return Number(line?.slice(series.length));
  }
}

export interface Health {
  status: string;
  redis: 'up' | 'degraded' | 'not configured';
  waiting: number;
  slots: { total: number; running: number };
}

/** Ends every process that a test of this file has left. */
export async function killChairliftProcesses(): Promise<void> {
  await Promise.all([...children].map(kill));
}

async function kill(child: ChildProcess): Promise<void> {
  children.delete(child);
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = new Promise((resolve) => child.once('exit', resolve));
  child.kill('SIGKILL');
  await exited;
}
