import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, stat, writeFile } from 'node:fs/promises';
import { cpus, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import type { Measurement } from './calibration.js';

/** Everything that changes what a decode call costs. */
export interface CalibrationSubject {
  modelPath: string;
  /** What computes, in words. */
  native: string;
  slotCount: number;
  contextTokens: number;
  batchTokens: number;
  threads: number;
}

/** Rises with the shapes that are timed. */
const shapesVersion = 3;

/** Where the calibration of a model on this machine is kept. */
export async function calibrationFile(directory: string, subject: CalibrationSubject): Promise<string> {
  const { size, mtimeMs } = await stat(subject.modelPath);
  const machine = [cpus()[0]?.model, cpus().length, totalmem(), process.version];
  const key = createHash('sha256').update(JSON.stringify([shapesVersion, subject, size, mtimeMs, machine]));
  return join(directory, `calibration-${key.digest('hex').slice(0, 16)}.json`);
}

/** @returns null when there is none, or none that can be read */
export async function readCalibration(path: string): Promise<Measurement[] | null> {
  try {
    const stored: unknown = JSON.parse(await readFile(path, 'utf8'));
    return Array.isArray(stored) && stored.length > 0 && stored.every(isMeasurement) ? stored : null;
  } catch {
    return null;
  }
}

/** Best effort: a cache that cannot be written costs a second at the next start. */
export async function writeCalibration(path: string, measurements: readonly Measurement[]): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true });
    const temporary = `${path}.${process.pid}`;
    await writeFile(temporary, JSON.stringify(measurements));
    await rename(temporary, path);
  } catch {
    return;
  }
}

function isMeasurement(value: unknown): value is Measurement {
  if (typeof value !== 'object' || value === null) return false;
  const { work, threads, decodeMs } = value as Partial<Measurement>;
  return (
    typeof threads === 'number' &&
    typeof decodeMs === 'number' &&
    typeof work === 'object' &&
    [work.passes, work.tokens, work.sampledRows, work.attendedTokens, work.leftoverTokens].every(
      (each) => typeof each === 'number',
    )
  );
}
