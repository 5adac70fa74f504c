import { type ChildProcess, spawn } from 'node:child_process';
import { createServer } from 'node:net';
import { sleep } from '../load/drivers.js';
import { createEndpoint, type Endpoint, fetchPlain } from '../load/endpoint.js';
import { openTarget, type Target } from '../load/target.js';
import { PeerError } from './prepare.js';
import type { StartCommand } from './specs.js';

const readyTimeoutMs = 120_000;
const stopTimeoutMs = 5_000;

/** A peer that runs, in a process of ours. */
export class ServerProcess {
  readonly target: Target;
  readonly pid: number;
  private readonly child: ChildProcess;

  private constructor(child: ChildProcess, target: Target) {
    this.child = child;
    this.pid = child.pid as number;
    this.target = target;
  }

  get isAlive(): boolean {
    return this.ending === undefined;
  }

  /** How it ended; undefined while it runs. */
  get ending(): string | undefined {
    return endingOf(this.child);
  }

  /** @throws PeerError with the end of its output when it does not come up */
  static async start(name: string, command: StartCommand, port: number): Promise<ServerProcess> {
    const child = spawn(command.command, command.args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, ...command.environment },
    });
    let tail = '';
    const keepTail = (chunk: Buffer): void => {
      tail = (tail + chunk.toString()).slice(-1500);
    };
    child.stdout.on('data', keepTail);
    child.stderr.on('data', keepTail);
    const endpoint = createEndpoint(`http://127.0.0.1:${port}`);
    const deadlineMs = performance.now() + readyTimeoutMs;
    while (!(await answers(endpoint))) {
      const isGone = child.exitCode !== null || child.signalCode !== null;
      if (isGone || performance.now() > deadlineMs) {
        child.kill('SIGKILL');
        const how = isGone
          ? `ended with ${child.signalCode ?? `code ${child.exitCode}`}`
          : 'did not become ready';
        throw new PeerError(`${name} ${how}:\n${tail}`);
      }
      await sleep(100);
    }
    endpoint.agent.destroy();
    return new ServerProcess(child, await openTarget({ url: endpoint.baseUrl }));
  }

  async stop(): Promise<void> {
    this.target.endpoint.agent.destroy();
    if (!this.isAlive) return;
    const gone = new Promise<void>((resolve) => this.child.once('exit', () => resolve()));
    this.child.kill('SIGTERM');
    const timer = setTimeout(() => this.child.kill('SIGKILL'), stopTimeoutMs);
    await gone;
    clearTimeout(timer);
  }
}

function endingOf(child: ChildProcess): string | undefined {
  if (child.signalCode !== null) return `was ended by ${child.signalCode}`;
  return child.exitCode === null ? undefined : `ended with code ${child.exitCode}`;
}

/** llama-server lists its model before it has loaded it, so health is asked first; others need not have it. */
async function answers(endpoint: Endpoint): Promise<boolean> {
  try {
    const health = await fetchPlain(endpoint, 'GET', '/health', undefined, 2000);
    if (health.status >= 500) return false;
    return (await fetchPlain(endpoint, 'GET', '/v1/models', undefined, 2000)).status === 200;
  } catch {
    return false;
  }
}

export function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === 'object' && address ? address.port : 0));
    });
  });
}

/** As one would type it. */
export function commandLine({ command, args }: StartCommand, port: number): string {
  const shorten = (word: string): string =>
    word === `${port}` ? 'PORT' : word.replace(`${process.cwd()}/`, '');
  return [command, ...args]
    .map(shorten)
    .map((word) => (/\s/.test(word) ? `'${word}'` : word))
    .join(' ');
}
