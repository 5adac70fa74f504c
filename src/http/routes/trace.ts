import type { FastifyInstance } from 'fastify';
import { ServiceError } from '../../errors.js';
import type { RouteContext } from '../route-context.js';
import { traceDocument } from '../schemas/service-schemas.js';

const defaultTicks = 100;
const maxTicks = 10_000;

/** GET /debug/trace?ticks=N, answered when N ticks have happened or half a minute has passed. */
export function addTrace(server: FastifyInstance, { core }: RouteContext): void {
  server.get<{ Querystring: { ticks?: string } }>(
    '/debug/trace',
    { schema: traceDocument },
    async (request) => {
      const ticks = Number(request.query.ticks ?? defaultTicks);
      if (!Number.isInteger(ticks) || ticks < 1 || ticks > maxTicks) {
        throw new ServiceError('invalid_value', `ticks must be a whole number from 1 to ${maxTicks}`, {
          param: 'ticks',
        });
      }
      return { traceEvents: await core.trace(ticks), displayTimeUnit: 'ms' };
    },
  );
}
