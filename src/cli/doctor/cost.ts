import { writeFile } from 'node:fs/promises';
import type { ServeConfig } from '../../config/config.js';
import { resolveModel } from '../../models/resolve-model.js';
import type { Terminal } from '../terminal.js';

/** Times decode calls of the model with these options. Wants a quiet machine. @throws Error when it cannot be loaded */
export async function writeCost(config: ServeConfig, path: string, terminal: Terminal): Promise<void> {
  const report = (message: string) => terminal.writeError(`${message}\n`);
  const model = config.engine === 'llama' ? await findModel(config, report) : null;
  report('timing decode calls: about half a minute, longer for a large model');
  const { measureCost } = await import('../../main.js');
  const measured = await measureCost({ ...config, model });
  await writeFile(path, `${JSON.stringify(measured, null, 1)}\n`);
  report(`${path}: use it with chairlift plan --cost-from ${path}`);
}

async function findModel(config: ServeConfig, report: (message: string) => void): Promise<string> {
  const { path } = await resolveModel({
    model: config.model,
    cacheDirectory: config.modelCacheDirectory,
    offline: config.offline,
    allowBundled: true,
    report,
    progress: () => {},
    signal: new AbortController().signal,
  });
  return path;
}
