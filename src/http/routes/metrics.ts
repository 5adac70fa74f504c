import type { FastifyInstance } from 'fastify';
import type { RouteContext } from '../route-context.js';
import { metricsDocument } from '../schemas/service-schemas.js';

/** GET /metrics, for Prometheus. */
export function addMetrics(server: FastifyInstance, { metrics }: RouteContext): void {
  server.get('/metrics', { schema: metricsDocument }, async (_request, reply) => {
    reply.type(metrics.registry.contentType);
    return metrics.registry.metrics();
  });
}
