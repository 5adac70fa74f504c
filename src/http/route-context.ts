import type { ServiceMetrics } from '../metrics/service-metrics.js';
import type { ServingCore } from '../serving/serving-core.js';
import type { HttpConfig } from './http-config.js';

/** What every route works with. */
export interface RouteContext {
  core: ServingCore;
  config: HttpConfig;
  metrics: ServiceMetrics;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Whose fair share pays for the request; set by authentication. */
    tenant: string;
  }
}
