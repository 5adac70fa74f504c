import type { ServeConfig } from '../config/config.js';
import type { RunningServer } from '../main.js';
import { type ResolvedModel, resolveModel } from '../models/resolve-model.js';
import { DownloadDisplay } from './download-display.js';
import { firstScreen } from './first-screen.js';
import { describeRedis, probeRedis } from './redis-probe.js';
import { explainStartFailure } from './start-failure.js';
import { exitCodeOf, StopSignals } from './stop-signals.js';
import type { Terminal } from './terminal.js';

/** What `close` gets beyond the time running requests have, before the process ends anyway. */
const closeGraceMs = 10_000;

/** Serves until a signal arrives. @returns the exit code */
export async function serve(config: ServeConfig, terminal: Terminal): Promise<number> {
  const signals = new StopSignals();
  try {
    const started = await Promise.race([start(config, terminal, signals), signals.first]);
    if (typeof started === 'string') return exitCodeOf(started);
    const signal = await signals.first;
    terminal.writeError(
      `${signal}: finishing running requests for up to ${config.shutdownMs / 1000} s; a second one ends at once\n`,
    );
    return (await closedInTime(started, config)) ? 0 : 1;
  } catch (error) {
    terminal.writeError(`chairlift: ${explainStartFailure(error, config)}\n`);
    return 1;
  } finally {
    signals.stopListening();
  }
}

async function start(config: ServeConfig, terminal: Terminal, signals: StopSignals): Promise<RunningServer> {
  const model =
    config.engine === 'llama' && config.role !== 'gateway'
      ? await findModel(config, terminal, signals)
      : null;
  const { startServer } = await import('../main.js');
  const server = await startServer({ ...config, model: model?.path ?? null });
  terminal.writeOutput(
    firstScreen({
      config,
      model: {
        ...server.core.model,
        kind: config.role === 'gateway' ? 'none' : (model?.kind ?? 'simulated'),
      },
      url: server.url,
      redis: describeRedis(await probeRedis(config.redisUrl)),
      terminal,
    }),
  );
  return server;
}

/** The file to load, fetched if need be, with progress on standard error. */
export async function findModel(
  config: ServeConfig,
  terminal: Terminal,
  signals: StopSignals,
): Promise<ResolvedModel> {
  const display = new DownloadDisplay(terminal);
  const model = await resolveModel({
    model: config.model,
    cacheDirectory: config.modelCacheDirectory,
    offline: config.offline,
    allowBundled: true,
    report: display.report,
    progress: display.progress,
    signal: signals.abortSignal,
  });
  display.report('loading the model');
  return model;
}

async function closedInTime(server: RunningServer, config: ServeConfig): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const tooLate = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), config.shutdownMs + closeGraceMs);
  });
  const inTime = await Promise.race([server.close().then(() => true as const), tooLate]);
  clearTimeout(timer);
  return inTime;
}
