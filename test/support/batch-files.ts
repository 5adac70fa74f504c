import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export const chatLine = (id: string, body: object = {}) => ({
  custom_id: id,
  method: 'POST',
  url: '/v1/chat/completions',
  body: { messages: [{ role: 'user', content: `This is ${id}.` }], max_tokens: 4, ...body },
});

export const completionLine = (id: string, body: object = {}) => ({
  custom_id: id,
  method: 'POST',
  url: '/v1/completions',
  body: { prompt: `This is ${id}.`, max_tokens: 4, ...body },
});

export const jsonl = (lines: readonly object[]) => lines.map((line) => `${JSON.stringify(line)}\n`).join('');

export interface OutputLine {
  id: string;
  custom_id: string;
  response: { status_code: number; request_id: string; body: Record<string, unknown> } | null;
  error: { code: string; message: string } | null;
}

export const parseJsonl = (text: string): OutputLine[] =>
  text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line));

export function scratchDirectory(): string {
  return mkdtempSync(join(tmpdir(), 'chairlift-test-'));
}

/** @returns its path */
export function writeScratch(directory: string, name: string, text: string): string {
  const path = join(directory, name);
  writeFileSync(path, text);
  return path;
}
