import { closeSync, fstatSync, openSync, readFileSync } from 'node:fs';
import { apiKey } from './option-parsers.js';

export interface ApiKeyFile {
  keys: string[];
  problems: string[];
  warnings: string[];
}

/** One key a line; blank lines and lines that start with `#` do not count. Problems never quote a key. */
export function readApiKeyFile(path: string): ApiKeyFile {
  const file: ApiKeyFile = { keys: [], problems: [], warnings: [] };
  let text: string;
  try {
    const descriptor = openSync(path, 'r');
    try {
      if ((fstatSync(descriptor).mode & 0o004) !== 0 && process.platform !== 'win32')
        file.warnings.push(`${path} can be read by every user of this machine; run: chmod 600 ${path}`);
      text = readFileSync(descriptor, 'utf8');
    } finally {
      closeSync(descriptor);
    }
  } catch (error) {
    file.problems.push(`cannot be read (${(error as NodeJS.ErrnoException).code ?? error})`);
    return file;
  }
  text.split(/\r?\n/).forEach((line, index) => {
    const key = line.trim();
    if (key === '' || key.startsWith('#')) return;
    const result = apiKey(key);
    if (result.ok) file.keys.push(key);
    else file.problems.push(`line ${index + 1} ${result.problem}`);
  });
  if (file.keys.length === 0 && file.problems.length === 0) file.problems.push('holds no key');
  return file;
}
