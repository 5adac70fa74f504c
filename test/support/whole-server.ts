import { randomUUID } from 'node:crypto';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { throughputFirst } from '../../scheduler/index.js';
import type { ServeConfig } from '../../src/config/config.js';
import { type RunningServer, startServer } from '../../src/main.js';
import { anyWaitMs } from './http-test-server.js';
import { tinyModelPath } from './models.js';

/** The program as `chairlift serve` starts it, on a free port: with the bundled model or the simulated engine. */
export function startWholeServer(
  engine: ServeConfig['engine'],
  overrides: Partial<ServeConfig> = {},
): Promise<RunningServer> {
  return startServer({
    model: engine === 'llama' ? tinyModelPath : null,
    engine,
    native: 'auto',
    host: '127.0.0.1',
    port: 0,
    slots: 8,
    contextTokens: 256,
    batchTokens: 256,
    threads: 2,
    itlTargetMs: null,
    ttftTargetsMs: throughputFirst.ttftTargetsMs,
    maxWaitMs: anyWaitMs,
    calibrate: false,
    maxWaiting: 64,
    maxWaitingTokens: 100_000,
    snapshotDirectory: null,
    snapshotBytes: null,
    apiKeys: [],
    allowUnauthenticated: false,
    role: 'all',
    redisUrl: null,
    redisPrefix: 'chairlift-test',
    maxOverflow: 0,
    queueDashboard: false,
    streamRetentionMs: 60_000,
    redisLockMs: 5_000,
    logLevel: 'error',
    offline: true,
    modelCacheDirectory: tmpdir(),
    shutdownMs: 0,
    queueTimeoutMs: 30_000,
    requestTimeoutMs: 60_000,
    maxBodyBytes: 1_000_000,
    // Made when something is first kept.
    dataDirectory: join(tmpdir(), `chairlift-data-${randomUUID()}`),
    maxDataBytes: 100_000_000,
    maxBatchFileBytes: 10_000_000,
    maxBatchLines: 1000,
    batchLinesInFlight: null,
    ...overrides,
  });
}
