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

/** GET /openapi.json, and GET /docs as a page whose assets all come from this server. */
export function addDocumentation(server: FastifyInstance): void {
  server.register(swaggerUi, { routePrefix: '/docs' });
  server.get('/openapi.json', { schema: { hide: true } }, async () => server.swagger());
}
