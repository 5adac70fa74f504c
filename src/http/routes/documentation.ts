import swagger from '@fastify/swagger';
import swaggerUi from '@fastify/swagger-ui';
import type { FastifyInstance } from 'fastify';

/** Collects the schemas of all routes added after it. */
export function collectDocumentation(server: FastifyInstance): void {
  server.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'chairlift',
        description: 'OpenAI-compatible inference over GGUF models, with continuous batching.',
        version: '1',
      },
      components: { securitySchemes: { apiKey: { type: 'http', scheme: 'bearer' } } },
      security: [{ apiKey: [] }],
    },
    transform: ({ schema, url }) => ({ schema, url: url.replace('*', ':id') }),
  });
}

/**
 * GET /openapi.json, and GET /docs as a page whose assets all come from this server. They need no API key: a browser
 * cannot send one with an address, and they say what is in the package anyway.
 */
export function addDocumentation(server: FastifyInstance): void {
  server.register(async (scope) => {
    scope.addHook('onRoute', (route) => {
      route.config = { ...route.config, public: true };
    });
    scope.register(swaggerUi, { routePrefix: '/docs' });
    scope.get('/openapi.json', { schema: { hide: true } }, async () => server.swagger());
  });
}
