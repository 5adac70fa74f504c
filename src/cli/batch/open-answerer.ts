import { pino } from 'pino';
import { defaultLinesInFlight } from '../../batch/batch-keeper.js';
import { CoreAnswerer } from '../../batch/core-answerer.js';
import type { LineAnswerer } from '../../batch/line-answerer.js';
import { ServerAnswerer } from '../../batch/server-answerer.js';
import type { ServeConfig } from '../../config/config.js';
import { ServiceMetrics } from '../../metrics/service-metrics.js';
import { findModel } from '../serve.js';
import type { StopSignals } from '../stop-signals.js';
import type { Terminal } from '../terminal.js';

/** Whatever answers lines, and how many of them at a time. */
export interface OpenAnswerer {
  answerer: LineAnswerer;
  linesInFlight: number;
  close(): Promise<void>;
}

const serverLinesInFlight = 32;

/** The engine in this process. Nobody waits for single tokens, so throughput comes first. */
export async function openEngine(
  config: ServeConfig,
  terminal: Terminal,
  signals: StopSignals,
): Promise<OpenAnswerer> {
  const model = config.engine === 'llama' ? await findModel(config, terminal, signals) : null;
  const { openCore } = await import('../../main.js');
  const logger = pino({ level: config.logLevel }, pino.destination({ dest: 2, sync: false }));
  const core = await openCore(
    { ...config, model: model?.path ?? null, itlTargetMs: config.itlTargetMs ?? 0 },
    new ServiceMetrics(),
    logger,
  );
  return {
    answerer: new CoreAnswerer({ core, config }),
    linesInFlight: config.batchLinesInFlight ?? defaultLinesInFlight(core.model.slotCount),
    close: () => core.close(0),
  };
}

/** @throws Error when nothing answers there */
export async function openServer(
  url: string,
  config: ServeConfig,
  environment: Terminal['environment'],
): Promise<OpenAnswerer> {
  const linesInFlight = config.batchLinesInFlight ?? serverLinesInFlight;
  const apiKey = config.apiKeys[0] ?? environment.OPENAI_API_KEY ?? null;
  const answerer = new ServerAnswerer(url, apiKey, linesInFlight);
  await answerer.requireReachable();
  return { answerer, linesInFlight, close: async () => answerer.close() };
}
