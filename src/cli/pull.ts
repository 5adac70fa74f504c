import type { ServeConfig } from '../config/config.js';
import { ModelNotFoundError } from '../models/model-errors.js';
import { type ModelSources, publicModelSources, resolveModel } from '../models/resolve-model.js';
import { DownloadDisplay } from './download-display.js';
import { exitCodeOf, StopSignals } from './stop-signals.js';
import { formatBytes, type Terminal } from './terminal.js';

/** Fetches a model into the model cache and prints its path. @returns the exit code */
export async function pull(
  config: ServeConfig,
  terminal: Terminal,
  sources: ModelSources = publicModelSources,
): Promise<number> {
  const signals = new StopSignals();
  const display = new DownloadDisplay(terminal);
  try {
    const model = await resolveModel(
      {
        model: config.model,
        cacheDirectory: config.modelCacheDirectory,
        offline: config.offline,
        allowBundled: false,
        report: display.report,
        progress: display.progress,
        signal: signals.abortSignal,
      },
      sources,
    );
    display.report(`ready, ${formatBytes(model.sizeBytes)}`);
    terminal.writeOutput(`${model.path}\n`);
    return 0;
  } catch (error) {
    if (signals.abortSignal.aborted) return exitCodeOf(await signals.first);
    if (!(error instanceof ModelNotFoundError)) throw error;
    terminal.writeError(`chairlift: ${error.message}\n`);
    return 1;
  } finally {
    signals.stopListening();
  }
}
