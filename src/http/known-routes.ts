import type { FastifyInstance } from 'fastify';
import { ServiceError } from '../errors.js';
import { shorten } from './parameters/json-fields.js';

/** Remembers which methods each path has, to tell a wrong method (405) from a wrong path (404). */
export class KnownRoutes {
  private readonly methodsByPath = new Map<string, Set<string>>();

  /** Call before any route is added. */
  watch(server: FastifyInstance): void {
    server.addHook('onRoute', (route) => {
      const methods = this.methodsByPath.get(route.url) ?? new Set();
      for (const method of [route.method].flat()) methods.add(method);
      this.methodsByPath.set(route.url, methods);
    });
  }

  /** Answers what no route takes: 405 with Allow on a known path, else 404. */
  refuseTheRest(server: FastifyInstance): void {
    server.setNotFoundHandler(({ method, url }, reply) => {
      const path = url.split('?', 1)[0]!;
      const allowed = this.methodsOf(path).join(', ');
      if (allowed === '') throw new ServiceError('not_found', `unknown path: ${method} ${shorten(path)}`);
      reply.header('allow', allowed);
      throw new ServiceError('method_not_allowed', `${path} does not take ${method}; it takes ${allowed}`);
    });
  }

  /** @returns the methods of a path in alphabetical order, empty if there is no such path */
  methodsOf(path: string): string[] {
    const methods = this.methodsByPath.get(path) ?? this.methodsOfWildcard(path);
    return [...(methods ?? [])].sort();
  }

  private methodsOfWildcard(path: string): Set<string> | undefined {
    for (const [pattern, methods] of this.methodsByPath) {
      if (pattern.endsWith('/*') && path.startsWith(pattern.slice(0, -1))) return methods;
    }
    return undefined;
  }
}
