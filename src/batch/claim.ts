import { link, mkdir, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { isProcessAlive, processStart } from '../process-identity.js';

interface Holder {
  host: string;
  pid: number;
  start: number;
}

const heartbeatMs = 10_000;
/** After this long without a heartbeat a holder on another host counts as dead. */
const silentMs = 60_000;

/**
 * The right to run what lies in a directory: at most one live process has it. Every claim has a higher number than all
 * before it and gives its name to the files its holder writes (a fencing token), so a holder that was taken for dead
 * cannot disturb its successor.
 */
export class Claim {
  readonly number: number;
  private readonly directory: string;
  private readonly heartbeat: NodeJS.Timeout;

  private constructor(directory: string, number: number) {
    this.directory = directory;
    this.number = number;
    this.heartbeat = setInterval(() => this.beat(), heartbeatMs);
    this.heartbeat.unref();
  }

  /** @returns null while another process that lives has it */
  static async take(directory: string): Promise<Claim | null> {
    await mkdir(directory, { recursive: true });
    const latest = await latestClaim(directory);
    if (latest.held) return null;
    const number = latest.number + 1;
    const draft = join(directory, `draft-${process.pid}-${Math.random().toString(16).slice(2)}`);
    const holder: Holder = { host: hostname(), pid: process.pid, start: processStart(process.pid) };
    await writeFile(draft, JSON.stringify(holder));
    try {
      // A link appears with its content, and only one process can make it.
      await link(draft, ownerPath(directory, number));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') return null;
      throw error;
    } finally {
      await rm(draft, { force: true });
    }
    return new Claim(directory, number);
  }

  /** Whether nobody has taken over meanwhile. */
  async holds(): Promise<boolean> {
    return (await latestClaim(this.directory)).number === this.number;
  }

  async release(): Promise<void> {
    clearInterval(this.heartbeat);
    await rm(ownerPath(this.directory, this.number), { force: true });
  }

  private beat(): void {
    const now = new Date();
    utimes(ownerPath(this.directory, this.number), now, now).catch(() => {});
  }
}

const ownerPath = (directory: string, number: number) => join(directory, `owner-${number}`);

/** Numbers also live on in the names of journals, after their claim is gone. */
async function latestClaim(directory: string): Promise<{ number: number; held: boolean }> {
  let number = 0;
  let owner = 0;
  for (const name of await readdir(directory)) {
    const match = /^(owner|journal)-(\d+)/.exec(name);
    if (!match) continue;
    number = Math.max(number, Number(match[2]));
    if (match[1] === 'owner') owner = Math.max(owner, Number(match[2]));
  }
  return { number, held: owner > 0 && (await isHeld(ownerPath(directory, owner))) };
}

async function isHeld(path: string): Promise<boolean> {
  try {
    const holder = JSON.parse(await readFile(path, 'utf8')) as Holder;
    if (holder.host === hostname()) return isProcessAlive(holder.pid, holder.start);
    return Date.now() - (await stat(path)).mtimeMs < silentMs;
  } catch {
    return false;
  }
}
