import { createServer } from 'node:net';
import type { ServeConfig } from '../../config/config.js';
import type { ModelLocation } from '../../models/locate-model.js';
import { isNodeNewEnough, neededNode } from '../node-version.js';
import { probeRedis, withoutRedis } from '../redis-probe.js';
import { explainStartFailure } from '../start-failure.js';
import { formatBytes } from '../terminal.js';
import { type Check, fail, ok, warn } from './check.js';

export function checkNode(version = process.versions.node): Check {
  const finding = `${version}, ${neededNode} needed`;
  return isNodeNewEnough(version) ? ok('node', finding) : fail('node', finding, `install Node ${neededNode}`);
}

/** @param model null: the engine needs none */
export function checkModel(model: ModelLocation | null, offline: boolean): Check {
  if (model === null) return ok('model', 'none needed by the simulated engine');
  switch (model.state) {
    case 'present':
      return ok('model', `${model.path}, ${formatBytes(model.sizeBytes)}`);
    case 'missing':
      return fail('model', model.reason, 'name a .gguf file with --model');
    case 'damaged':
      return warn('model', `${model.reason}; it will not be used`, 'run: npx chairlift pull');
    case 'fetchable':
      return judgeAbsentModel(model.bundledAvailable, offline);
  }
}

function judgeAbsentModel(bundledAvailable: boolean, offline: boolean): Check {
  if (!offline)
    return warn(
      'model',
      'not in the model cache; serve fetches it at the first start',
      'fetch it now: npx chairlift pull',
    );
  const advice = 'run npx chairlift pull where there is a network, or name a file with --model';
  return bundledAvailable
    ? warn('model', 'not in the model cache and --offline; the bundled toy model would serve', advice)
    : fail('model', 'not in the model cache and --offline forbids fetching it', advice);
}

export async function checkRedis(redisUrl: string | null): Promise<Check> {
  const redis = await probeRedis(redisUrl);
  switch (redis.state) {
    case 'not configured':
      return ok('redis', 'not configured; requests wait in memory');
    case 'reachable':
      return ok('redis', `${redis.url} answers in ${redis.pingMs} ms`);
    case 'unreachable':
      return warn(
        'redis',
        `${redis.url} does not answer (${redis.reason})`,
        `start it or correct --redis-url; ${withoutRedis}`,
      );
  }
}

/** Listens for a moment where `serve` would. */
export async function checkAddress(config: ServeConfig): Promise<Check> {
  const address = `${config.host}:${config.port}`;
  const error = await new Promise<Error | null>((resolve) => {
    const server = createServer();
    server.once('error', resolve);
    server.listen({ host: config.host, port: config.port, exclusive: true }, () =>
      server.close(() => resolve(null)),
    );
  });
  if (error === null) return ok('address', `${address} is free`);
  const [finding, advice] = explainStartFailure(error, config).split('; ');
  return fail('address', finding!, advice ?? 'choose another --host or --port');
}
