import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'csv-parse';
import { replaceFile, writeWhole } from '../../batch/durable-file.js';
import type { BatchCommandOptions } from './batch-options.js';

/** Columns beside the prompt that mean something; others are left alone. */
const knownColumns = { id: ['custom_id', 'id'], system: 'system', maxTokens: 'max_tokens' } as const;

/** @returns the path of a JSONL file: the input itself, or a copy of standard input or of a CSV file as JSONL */
export async function prepareInput(options: BatchCommandOptions, directory: string): Promise<string> {
  const { input, format } = options;
  if (input !== '-' && format === 'jsonl') return input;
  if (input === '-' && process.stdin.isTTY)
    throw new Error('name an input file, or pipe lines into standard input (chairlift batch --help)');
  const path = join(directory, 'input.jsonl');
  const source = input === '-' ? process.stdin : createReadStream(input);
  await writeWhole(path, false, async (part) => {
    if (format === 'jsonl') for await (const chunk of source) await part.write(chunk as Buffer);
    else for await (const line of csvAsJsonl(source, options)) await part.appendFile(line);
  });
  return path;
}

/**
 * Remembers which input the answers in a directory belong to.
 * @param refusal is thrown when they belong to another one
 */
export async function requireSameInput(path: string, directory: string, refusal: () => Error): Promise<void> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  const digest = hash.digest('hex');
  const notePath = join(directory, 'input.sha256');
  const noted = await readFile(notePath, 'utf8').catch(() => null);
  if (noted === null) return replaceFile(notePath, digest, true);
  if (noted !== digest) throw refusal();
}

async function* csvAsJsonl(
  source: NodeJS.ReadableStream,
  { promptColumn }: BatchCommandOptions,
): AsyncGenerator<string> {
  const rows = source.pipe(parse({ columns: true, bom: true, skip_empty_lines: true }));
  source.once('error', (error) => rows.destroy(error));
  let number = 0;
  for await (const row of rows as AsyncIterable<Record<string, string>>) {
    number += 1;
    yield `${JSON.stringify(requestOf(row, number, promptColumn))}\n`;
  }
}

function requestOf(row: Record<string, string>, number: number, promptColumn: string): object {
  const prompt = row[promptColumn];
  if (prompt === undefined) {
    const columns = Object.keys(row).join(', ');
    throw new Error(`there is no column "${promptColumn}"; the input has ${columns} (--prompt-column)`);
  }
  const system = row[knownColumns.system];
  const maxTokens = row[knownColumns.maxTokens];
  return {
    custom_id: knownColumns.id.map((name) => row[name]).find((id) => id) ?? `row-${number}`,
    method: 'POST',
    url: '/v1/chat/completions',
    body: {
      messages: [...(system ? [{ role: 'system', content: system }] : []), { role: 'user', content: prompt }],
      ...(maxTokens ? { max_tokens: Number(maxTokens) } : {}),
    },
  };
}
