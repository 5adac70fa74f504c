import { readFileSync } from 'node:fs';

/** From the package.json above this file: two folders up in the sources, three in the build. */
export function packageVersion(): string {
  for (const path of ['../../package.json', '../../../package.json']) {
    try {
      const text = readFileSync(new URL(path, import.meta.url), 'utf8');
      const description = JSON.parse(text) as { name?: string; version?: string };
      if (description.name === 'chairlift' && description.version) return description.version;
    } catch {
      // Not there: the next one up.
    }
  }
  return 'unknown';
}
