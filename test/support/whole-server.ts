import { tmpdir } from 'node:os';
import type { ServeConfig } from '../../src/config/config.js';
import { type RunningServer, startServer } from '../../src/main.js';
import { tinyModelPath } from './models.js';

/** The program as `chairlift serve` starts it, on a free port: with the bundled model or the simulated engine. */
export function startWholeServer(
  engine: ServeConfig['engine'],
  overrides: Partial<ServeConfig> = {},
): Promise<RunningServer> {
  return startServer({
    model: engine === 'llama' ? tinyModelPath : null,
    engine,
    host: '127.0.0.1',
    port: 0,
    slots: 8,
    contextTokens: 256,
    batchTokens: 256,
    threads: 2,
    itlTargetMs: null,
    calibrate: false,
    maxWaiting: 64,
    maxWaitingTokens: 100_000,
    snapshotDirectory: null,
    snapshotBytes: null,
    apiKeys: [],
    allowUnauthenticated: false,
    redisUrl: null,
    logLevel: 'error',
    offline: true,
    modelCacheDirectory: tmpdir(),
    shutdownMs: 0,
    queueTimeoutMs: 30_000,
    requestTimeoutMs: 60_000,
    maxBodyBytes: 1_000_000,
    ...overrides,
  });
}
