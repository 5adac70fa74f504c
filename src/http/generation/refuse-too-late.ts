import type { PriorityClass } from '../../../scheduler/index.js';
import { ServiceError } from '../../errors.js';
import type { RouteContext } from '../route-context.js';

/**
 * Whoever could only be served too late is told so at once, before its prompt costs anything.
 * @throws ServiceError `wait_too_long`
 */
export function refuseTooLate(
  { core, config }: Pick<RouteContext, 'core' | 'config'>,
  tenant: string,
  priorityClass: PriorityClass,
): void {
  const limitMs = config.maxWaitMs[priorityClass];
  if (limitMs === 0) return;
  const waitMs = core.expectedWaitMs(priorityClass, tenant);
  if (waitMs <= limitMs) return;
  throw new ServiceError(
    'wait_too_long',
    `the estimated wait for a slot is ${Math.ceil(waitMs)} ms, the limit for class ${priorityClass} is ` +
      `${limitMs} ms (--max-wait-ms)`,
    { retryAfterSeconds: (waitMs - limitMs) / 1000 },
  );
}
