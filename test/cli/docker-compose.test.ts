import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { parse } from 'yaml';
import { loadServeConfig } from '../../src/config/load-config.js';
import { serveOptions } from '../../src/config/serve-options.js';

interface Service {
  build?: string;
  image?: string;
  command: string | string[];
  environment?: Record<string, string>;
  depends_on?: Record<string, { condition: string }>;
  healthcheck?: { test: string[] };
  volumes?: string[];
}

const text = readFileSync(new URL('../../docker-compose.yml', import.meta.url), 'utf8');
const { services, volumes } = parse(text) as { services: Record<string, Service>; volumes: object };
const ours = Object.entries(services).filter(([, { build }]) => build !== undefined);

/** Compose itself is not at hand here; this is what it would find out. */
it('docker-compose.yml starts a Redis, a gateway and two workers, each watched', () => {
  expect(ours.map(([name]) => name)).toEqual(['gateway', 'worker-1', 'worker-2']);
  expect(services.redis!.command).toMatch(/--appendonly yes.*--maxmemory-policy noeviction/);
  for (const [name, { healthcheck, depends_on = {}, volumes: mounts = [] }] of Object.entries(services)) {
    expect(healthcheck?.test[0], name).toBe('CMD');
    for (const [other, { condition }] of Object.entries(depends_on)) {
      expect(services[other]?.healthcheck, `${name} waits for ${other}`).toBeDefined();
      expect(condition).toBe('service_healthy');
    }
    for (const mount of mounts) expect(Object.keys(volumes)).toContain(mount.split(':')[0]);
  }
});

it.each(ours)(
  '%s of docker-compose.yml is started with options that exist',
  (name, { command, environment }) => {
    const [subcommand, ...words] = command as string[];
    expect(subcommand).toBe('serve');
    const flags: Record<string, string> = {};
    for (let index = 0; index < words.length; index += 2) {
      const option = serveOptions.find(({ flag }) => flag === words[index]);
      expect(option, `${words[index]}`).toBeDefined();
      flags[option!.key] = words[index + 1]!;
    }
    const values = { ...environment, CHAIRLIFT_API_KEY: 'from-the-shell' };
    for (const variable of Object.keys(values))
      expect(
        serveOptions.map(({ environmentName }) => environmentName),
        variable,
      ).toContain(variable);
    const { config } = loadServeConfig({ flags, environment: values });
    expect(config).toMatchObject({
      role: name.split('-')[0],
      host: '0.0.0.0',
      redisUrl: 'redis://redis:6379',
    });
  },
);
