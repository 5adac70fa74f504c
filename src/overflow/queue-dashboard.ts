import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { FastifyAdapter } from '@bull-board/fastify';
import type { Queue } from 'bullmq';
import type { FastifyInstance } from 'fastify';
import { ServiceError } from '../errors.js';

const path = '/admin/queues';

type ErrorHandler = Parameters<FastifyAdapter['setErrorHandler']>[0];

/** Refusals of this service, such as that of a missing API key, keep their status and shape. */
class BoardAdapter extends FastifyAdapter {
  override setErrorHandler(handler: ErrorHandler): this {
    return super.setErrorHandler((error) => {
      if (!(error instanceof ServiceError)) return handler(error);
      return { status: error.status, body: error.toBody() } as ReturnType<ErrorHandler>;
    });
  }
}

/** Bull Board: the jobs in Redis as a page, with everybody's prompts. Shown to whoever has an API key. */
export function addQueueDashboard(
  server: FastifyInstance,
  onQueue: (use: (queue: Queue) => void) => void,
): void {
  const serverAdapter = new BoardAdapter();
  serverAdapter.setBasePath(path);
  const board = createBullBoard({ queues: [], serverAdapter });
  onQueue((queue) => board.addQueue(new BullMQAdapter(queue)));
  server.register(serverAdapter.registerPlugin(), { prefix: path });
}
