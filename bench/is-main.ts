import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** True when node was started with that module; links such as those in node_modules/.bin are followed. */
export function isMain(moduleUrl: string): boolean {
  const script = process.argv[1];
  return script !== undefined && realpathSync(script) === fileURLToPath(moduleUrl);
}
