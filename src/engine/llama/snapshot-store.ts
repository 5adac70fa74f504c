import { mkdirSync, readdirSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { isProcessAlive, processStart } from '../../process-identity.js';

const prefix = 'chairlift-snapshots-';

/**
 * Files of slot states, in a directory of this process alone. They die with it: what a crash leaves behind is swept
 * by the next process that uses the same parent on this host.
 */
export class SnapshotStore {
  private readonly directory: string;
  private readonly removeAtExit: () => void;

  /** @throws Error when the directory cannot be created */
  constructor(parent: string) {
    mkdirSync(parent, { recursive: true });
    sweepDeadProcesses(parent);
    this.directory = join(parent, directoryName(process.pid));
    mkdirSync(this.directory, { recursive: true, mode: 0o700 });
    this.removeAtExit = () => rmSync(this.directory, { recursive: true, force: true });
    process.once('exit', this.removeAtExit);
  }

  path(snapshotId: number): string {
    return join(this.directory, `${snapshotId}.kv`);
  }

  /** Never rejects: what cannot be removed now goes with the directory. */
  async remove(snapshotId: number): Promise<void> {
    await rm(this.path(snapshotId), { force: true }).catch(() => {});
  }

  close(): void {
    process.removeListener('exit', this.removeAtExit);
    this.removeAtExit();
  }
}

let storesOfProcess = 0;

function directoryName(pid: number): string {
  storesOfProcess += 1;
  return `${prefix}${hostname()}-${pid}-${processStart(pid)}-${storesOfProcess}`;
}

function sweepDeadProcesses(parent: string): void {
  const own = new RegExp(`^${prefix}${escaped(hostname())}-(\\d+)-(\\d+)-\\d+$`);
  for (const name of readdirSync(parent)) {
    const match = own.exec(name);
    if (!match || isProcessAlive(Number(match[1]), Number(match[2]))) continue;
    rmSync(join(parent, name), { recursive: true, force: true });
  }
}

const escaped = (text: string) => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
