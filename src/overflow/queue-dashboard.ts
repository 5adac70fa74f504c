import { createBullBoard } from '@bull-board/api';
import { BullMQAdapter } from '@bull-board/api/bullMQAdapter';
import { FastifyAdapter } from '@bull-board/fastify';
import type { Queue } from 'bullmq';
import type { FastifyInstance } from 'fastify';

const path = '/admin/queues';

/** Bull Board: the jobs in Redis as a page, with everybody's prompts. Shown to whoever has an API key. */
export function addQueueDashboard(
  server: FastifyInstance,
  onQueue: (use: (queue: Queue) => void) => void,
): void {
  const serverAdapter = new FastifyAdapter();
  serverAdapter.setBasePath(path);
  const board = createBullBoard({ queues: [], serverAdapter });
  onQueue((queue) => board.addQueue(new BullMQAdapter(queue)));
  server.register(serverAdapter.registerPlugin(), { prefix: path });
}
