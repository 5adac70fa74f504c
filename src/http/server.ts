import Fastify, {
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyRequest,
  LogController,
} from 'fastify';
import type { ServiceMetrics } from '../metrics/service-metrics.js';
import type { ServingCore } from '../serving/serving-core.js';
import { Authentication } from './authentication.js';
import { answerClientError, ErrorReplies } from './error-replies.js';
import { ArrivalOrder } from './generation/arrival-order.js';
import type { HttpConfig } from './http-config.js';
import { acceptJsonBodies } from './json-body.js';
import { KnownRoutes } from './known-routes.js';
import { OpenConnections } from './open-connections.js';
import { defaultReceiveLimits, limitReceiving, type ReceiveLimits } from './receive-limits.js';
import { requestIdHeader, requestIdOf } from './request-id.js';
import { noOverflow, type OverflowView, type RouteContext } from './route-context.js';
import { addChatCompletions } from './routes/chat-completions.js';
import { addCompletions } from './routes/completions.js';
import { addDocumentation, collectDocumentation } from './routes/documentation.js';
import { addHealth } from './routes/health.js';
import { addMetrics } from './routes/metrics.js';
import { addModels } from './routes/models.js';
import { addStreams } from './routes/streams.js';
import { addTokenization } from './routes/tokenization.js';
import { addTrace } from './routes/trace.js';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Answered without an API key. */
    public?: boolean;
  }
}

export interface HttpServerOptions {
  core: ServingCore;
  config: HttpConfig;
  metrics: ServiceMetrics;
  /** Absent: there is none. */
  overflow?: OverflowView;
  /** Only what is asked of a process that takes no requests: how it is. */
  onlyStatus?: boolean;
  /** Absent: nothing is logged. */
  logger?: FastifyBaseLogger;
  /** Absent: `defaultReceiveLimits`. */
  receiveLimits?: ReceiveLimits;
  /** Adds routes of higher layers, behind the same authentication, errors and documentation. */
  addMoreRoutes?: (server: FastifyInstance) => void;
}

/** The HTTP face of a serving core. The caller listens and closes; closing the core is the caller's too. */
export function createHttpServer(options: HttpServerOptions): FastifyInstance {
  const { core, config, metrics, overflow = noOverflow, logger } = options;
  const errorReplies = new ErrorReplies(metrics, config.maxBodyBytes);
  const server = Fastify({
    ...(logger === undefined ? { logger: false } : { loggerInstance: logger }),
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: config.maxBodyBytes,
    // `limitReceiving` does it; for the headers Node's own limit of a minute holds.
    requestTimeout: 0,
    genReqId: requestIdOf,
    // A core that drains says so itself, in the OpenAI shape.
    return503OnClosing: false,
    frameworkErrors: (error, request, reply) => {
      errorReplies.send(error, request, reply);
    },
    clientErrorHandler: answerClientError,
  });
  server.server.maxConnections = mostConnections(config);
  const connections = new OpenConnections();
  connections.watch(server.server);
  server.addHook('preClose', async () => connections.close());
  const routes = new KnownRoutes();
  routes.watch(server);
  acceptJsonBodies(server);
  documentOnly(server);
  limitReceiving(server, options.receiveLimits ?? defaultReceiveLimits);
  identifyRequests(server, core, new Authentication(config.apiKeys));
  logResponses(server);
  server.setErrorHandler((error, request, reply) => errorReplies.send(error, request, reply));
  routes.refuseTheRest(server);
  addRoutes(server, { core, config, metrics, overflow, arrivals: new ArrivalOrder() }, options);
  return server;
}

/** Twice what slots and line could use, and room for those who only ask how things are. */
function mostConnections({ maxWaiting }: HttpConfig): number {
  return 2 * (maxWaiting + 256) + 512;
}

function addRoutes(
  server: FastifyInstance,
  context: RouteContext,
  { onlyStatus, addMoreRoutes }: HttpServerOptions,
): void {
  collectDocumentation(server);
  server.register(async (scope) => {
    addHealth(scope, context);
    addMetrics(scope, context);
    if (onlyStatus) return;
    addChatCompletions(scope, context);
    addCompletions(scope, context);
    addModels(scope, context);
    addTokenization(scope, context);
    addStreams(scope, context);
    addTrace(scope, context);
    addMoreRoutes?.(scope);
  });
  addDocumentation(server);
}

/** Route schemas describe; the parsers in parameters/ check, and answers are written as they are. */
function documentOnly(server: FastifyInstance): void {
  server.setValidatorCompiler(() => () => true);
  server.setSerializerCompiler(() => (data) => JSON.stringify(data));
}

function identifyRequests(server: FastifyInstance, core: ServingCore, authentication: Authentication): void {
  server.decorateRequest('tenant', '');
  server.addHook('onRequest', async (request, reply) => {
    // On the raw response, so that streams carry it too.
    reply.raw.setHeader(requestIdHeader, request.id);
    // Asks clients to go elsewhere next time.
    if (core.state !== 'ready') reply.raw.setHeader('connection', 'close');
    if (!isPublic(request)) request.tenant = authentication.authenticate(request.headers.authorization);
  });
}

function isPublic(request: FastifyRequest): boolean {
  return request.routeOptions.config.public === true;
}

function logResponses(server: FastifyInstance): void {
  server.addHook('onResponse', async (request, reply) => {
    request.log.debug(
      {
        method: request.method,
        url: request.url,
        status: reply.raw.statusCode,
        durationMs: Math.round(reply.elapsedTime),
      },
      'answered',
    );
  });
}
