import type { ServiceMetrics } from '../metrics/service-metrics.js';
import type { GenerationEvent, ServingCore } from '../serving/serving-core.js';
import type { ArrivalOrder } from './generation/arrival-order.js';
import type { HttpConfig } from './http-config.js';

/** What it takes to read and answer a body that asks for text, from a client or from a line of a batch job. */
export interface GenerationContext {
  core: ServingCore;
  config: Pick<HttpConfig, 'maxWaiting'>;
}

/** What every route works with. */
export interface RouteContext {
  core: ServingCore;
  config: HttpConfig;
  metrics: ServiceMetrics;
  overflow: OverflowView;
  arrivals: ArrivalOrder;
}

/** What the HTTP layer shows of the overflow. */
export interface OverflowView {
  readonly redis: 'not configured' | 'up' | 'degraded';
  /** @returns null if this tenant has no such stream; rejects while Redis is away */
  openStream(id: string, tenant: string, afterId: string | null): Promise<ReadableStoredStream | null>;
  cancelStream(id: string): Promise<void>;
}

export interface ReadableStoredStream {
  readonly choices: number;
  readonly choicesPerPrompt: number;
  /** `GenerationRequest.presentation` of the request. */
  readonly presentation: string;
  follow(listener: (event: GenerationEvent) => void): void;
  stop(): void;
}

export const noOverflow: OverflowView = {
  redis: 'not configured',
  openStream: async () => null,
  cancelStream: async () => {},
};

declare module 'fastify' {
  interface FastifyRequest {
    /** Whose fair share pays for the request; set by authentication. */
    tenant: string;
  }
}
