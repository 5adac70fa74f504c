import { type ChildProcess, spawn } from 'node:child_process';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { firstLine, SourceRefusedError } from './model-errors.js';
import type { OnProgress } from './progress.js';
import { StallGuard } from './stall-guard.js';

export interface PipSource {
  /** Program and first arguments, tried in order until one exists. */
  commands: readonly (readonly [string, ...string[]])[];
  /** Milliseconds until pip has written the first byte (it asks the index first). */
  firstByteMs: number;
  /** Milliseconds without a new byte after which pip is stopped. */
  stallMs: number;
}

export const defaultPipSource: PipSource = {
  commands: [['pip'], ['pip3'], ['python3', '-m', 'pip']],
  firstByteMs: 30_000,
  stallMs: 60_000,
};

const pollMs = 250;

export interface WheelRequest {
  requirement: string;
  /** Size of the wheel, for the progress display. */
  wheelBytes: number;
  /** Where pip puts it; must be empty. */
  directory: string;
}

/**
 * `pip download --no-deps`.
 * @returns the path of the wheel
 * @throws SourceRefusedError
 */
export async function downloadWheel(
  request: WheelRequest,
  source: PipSource,
  onProgress: OnProgress,
  signal?: AbortSignal,
): Promise<string> {
  for (const command of source.commands) {
    const outcome = await runPip(command, request, source, onProgress, signal);
    if (outcome.state === 'missing') continue;
    if (outcome.state === 'failed') throw new SourceRefusedError(`${command.join(' ')}: ${outcome.reason}`);
    const wheel = (await readdir(request.directory)).find((name) => name.endsWith('.whl'));
    if (wheel === undefined) throw new SourceRefusedError(`${command.join(' ')} left no wheel`);
    return join(request.directory, wheel);
  }
  throw new SourceRefusedError('no pip on this machine');
}

type PipOutcome = { state: 'done' } | { state: 'missing' } | { state: 'failed'; reason: string };

async function runPip(
  [program, ...firstArguments]: readonly [string, ...string[]],
  { requirement, wheelBytes, directory }: WheelRequest,
  source: PipSource,
  onProgress: OnProgress,
  signal?: AbortSignal,
): Promise<PipOutcome> {
  signal?.throwIfAborted();
  const guard = new StallGuard(source.firstByteMs, source.stallMs, signal);
  const child = spawn(program, [...firstArguments, ...pipArguments(requirement, directory)], {
    // pip downloads into its temporary directory and copies the wheel at the end.
    env: { ...process.env, TMPDIR: directory, TEMP: directory, TMP: directory },
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: hasProcessGroups,
  });
  guard.signal.addEventListener('abort', () => killWithChildren(child), { once: true });
  let errorText = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    errorText = (errorText + text).slice(-8_192);
  });
  const poll = setInterval(async () => {
    const downloadedBytes = Math.min(await sizeOfTree(directory), wheelBytes);
    guard.sawBytes(downloadedBytes);
    if (downloadedBytes > 0) onProgress({ downloadedBytes, totalBytes: wheelBytes });
  }, pollMs);
  try {
    return await new Promise<PipOutcome>((resolve) => {
      child.once('error', (error: NodeJS.ErrnoException) => {
        const isMissing = error.code === 'ENOENT' || error.code === 'EACCES';
        resolve(isMissing ? { state: 'missing' } : { state: 'failed', reason: firstLine(error) });
      });
      // Only a dead pip cannot write into a directory that is about to be removed.
      child.once('close', (code) => {
        const stall = guard.reason;
        resolve(stall === null ? judgeExit(code, errorText) : { state: 'failed', reason: firstLine(stall) });
      });
    });
  } finally {
    clearInterval(poll);
    guard.stop();
    signal?.throwIfAborted();
  }
}

const hasProcessGroups = process.platform !== 'win32';

/** `pip` is often a wrapper script that starts the real one. */
function killWithChildren(child: ChildProcess): void {
  if (child.pid === undefined) return;
  try {
    if (hasProcessGroups) process.kill(-child.pid, 'SIGKILL');
    else child.kill('SIGKILL');
  } catch {
    // Already gone.
  }
}

function pipArguments(requirement: string, directory: string): string[] {
  return [
    'download',
    requirement,
    '--no-deps',
    '--only-binary=:all:',
    `--dest=${directory}`,
    '--no-cache-dir',
    '--no-input',
    '--disable-pip-version-check',
    '--progress-bar=off',
    '--timeout=10',
    '--retries=1',
  ];
}

function judgeExit(code: number | null, errorText: string): PipOutcome {
  if (code === 0) return { state: 'done' };
  if (code === 127 || /No module named '?pip/.test(errorText)) return { state: 'missing' };
  const lines = errorText.split('\n').map((line) => line.trim());
  const line =
    lines.find((candidate) => candidate.startsWith('ERROR:')) ??
    lines.findLast((candidate) => candidate !== '');
  return { state: 'failed', reason: (line ?? `exit code ${code}`).slice(0, 200) };
}

async function sizeOfTree(directory: string): Promise<number> {
  const entries = await readdir(directory, { withFileTypes: true, recursive: true }).catch(() => []);
  const sizes = entries
    .filter((entry) => entry.isFile())
    .map((entry) =>
      stat(join(entry.parentPath ?? entry.path, entry.name)).then(
        (status) => status.size,
        () => 0,
      ),
    );
  return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
}
