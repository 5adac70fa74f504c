import type { FastifyInstance } from 'fastify';
import type { RouteContext } from '../route-context.js';
import { healthDocument } from '../schemas/service-schemas.js';

/** GET /health: 200 while requests are taken, else 503 with the state. Needs no API key. */
export function addHealth(server: FastifyInstance, { core, overflow }: RouteContext): void {
  server.get('/health', { schema: healthDocument, config: { public: true } }, (_request, reply) => {
    const { state } = core;
    const ready = state === 'ready';
    const stats = core.stats();
    return reply.code(ready ? 200 : 503).send({
      status: ready ? 'ok' : state,
      model: core.model.id,
      native: core.model.native,
      slots: {
        total: stats.slotCount,
        running: stats.running,
        cached: stats.cachedSlots,
        empty: stats.emptySlots,
      },
      waiting: stats.waiting,
      redis: overflow.redis,
    });
  });
}
