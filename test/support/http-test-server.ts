import type { AddressInfo } from 'node:net';
import type { HttpConfig } from '../../src/http/http-config.js';
import { createHttpServer } from '../../src/http/server.js';
import { ServiceMetrics } from '../../src/metrics/service-metrics.js';
import type { ServingCore } from '../../src/serving/serving-core.js';

/** No request is refused for its estimated wait. */
export const anyWaitMs = { interactive: 0, standard: 0, batch: 0 };

export type HttpTestOptions = Partial<HttpConfig>;

export interface HttpTestServer {
  /** `http://127.0.0.1:PORT` */
  url: string;
  port: number;
  metrics: ServiceMetrics;
  close(): Promise<void>;
}

/** Any core behind the real HTTP layer, on a free port. */
export async function startHttpServer(
  core: ServingCore,
  metrics: ServiceMetrics = new ServiceMetrics(),
  options: HttpTestOptions = {},
): Promise<HttpTestServer> {
  metrics.readStatsFrom(() => core.stats());
  const config: HttpConfig = {
    apiKeys: options.apiKeys ?? [],
    maxBodyBytes: options.maxBodyBytes ?? 1_000_000,
    requestTimeoutMs: options.requestTimeoutMs ?? 30_000,
    queueTimeoutMs: options.queueTimeoutMs ?? 30_000,
    maxWaitMs: options.maxWaitMs ?? anyWaitMs,
    maxWaiting: options.maxWaiting ?? 64,
  };
  const server = createHttpServer({ core, config, metrics });
  await server.listen({ host: '127.0.0.1', port: 0 });
  const { port } = server.server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    port,
    metrics,
    async close() {
      server.server.closeAllConnections();
      await server.close();
    },
  };
}
