import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hasLocalBuild, type NativeChoice } from '../../src/models/native-build.js';
import { type PeerBinaries, PeerError } from './prepare.js';

/** What every server of a comparison gets alike. */
export interface ServerProfile {
  modelPath: string;
  slots: number;
  /** Per slot. */
  contextTokens: number;
  threads: number;
}

export interface StartCommand {
  command: string;
  args: string[];
  environment?: Record<string, string>;
}

export interface PeerSpec {
  name: string;
  label: string;
  description: string;
  /** Only these scenarios; all when absent. */
  scenarios?: readonly string[];
  /** Not these. */
  exceptScenarios?: readonly string[];
  /** Scenarios in which it gets every seed; elsewhere it gets the first. Everywhere when absent. */
  allSeedsIn?: readonly string[];
  start: (profile: ServerProfile, port: number, binaries: PeerBinaries) => StartCommand;
}

const root = fileURLToPath(
  new URL(import.meta.url.endsWith('.ts') ? '../../' : '../../../', import.meta.url),
);

function llamaServerArgs(profile: ServerProfile, port: number, more: string[]): string[] {
  const { modelPath, slots, contextTokens, threads } = profile;
  const total = String(slots * contextTokens);
  return [
    '-m',
    modelPath,
    '--host',
    '127.0.0.1',
    '--port',
    `${port}`,
    '-np',
    `${slots}`,
    '-c',
    total,
    '-t',
    `${threads}`,
    ...more,
  ];
}

/** Who a server is, and where it takes part. */
type PeerIdentity = Omit<PeerSpec, 'start'>;

function llamaServer(identity: PeerIdentity, more: string[]): PeerSpec {
  return {
    ...identity,
    start: (profile, port, binaries) => ({
      command: join(binaries.folder, 'llama-server'),
      args: llamaServerArgs(profile, port, more),
      environment: { LD_LIBRARY_PATH: binaries.folder },
    }),
  };
}

function nodeServer(
  identity: Pick<PeerSpec, 'name' | 'label' | 'description'>,
  slotsOf: (slots: number) => number,
): PeerSpec {
  return {
    ...identity,
    allSeedsIn: ['throughput', 'single'],
    // They share nothing between sequences, which shared-prefix-200 shows.
    exceptScenarios: ['shared-prefix-200-warm', 'shared-prompts-8', 'shared-prefix-1000'],
    start: ({ modelPath, slots, contextTokens, threads }, port) => ({
      command: process.execPath,
      args: [
        ...(import.meta.url.endsWith('.ts') ? ['--import', 'tsx'] : []),
        fileURLToPath(
          new URL(`./naive-server.${import.meta.url.endsWith('.ts') ? 'ts' : 'js'}`, import.meta.url),
        ),
        ...['--model', modelPath, '--port', `${port}`, '--slots', `${slotsOf(slots)}`],
        ...['--context', `${contextTokens}`, '--threads', `${threads}`, '--batch', '512'],
      ],
    }),
  };
}

function chairlift(identity: PeerIdentity, native: NativeChoice): PeerSpec {
  return {
    ...identity,
    start: ({ modelPath, slots, contextTokens, threads }, port) => {
      const script = join(root, 'dist', 'src', 'cli', 'chairlift.cjs');
      if (!existsSync(script)) throw new PeerError(`${script} is missing; run npm run build first.`);
      return {
        command: process.execPath,
        args: [
          ...[script, 'serve', '--model', modelPath, '--port', `${port}`, '--slots', `${slots}`],
          ...['--context', `${contextTokens}`, '--threads', `${threads}`, '--batch', '512'],
          ...['--native', native, '--log-level', 'warn'],
        ],
      };
    },
  };
}

const localBuild = chairlift(
  {
    name: 'chairlift-local',
    label: 'chairlift, local build',
    description: 'The same on a llama.cpp compiled here by npm run build:native, as llama-server is.',
    scenarios: ['throughput', 'single', 'interference'],
  },
  'local',
);

const bestFlags = ['-b', '512', '-ub', '512', '-fa', 'on', '-cram', '0'];

/** In the order of every table and plot; the first is the one the others are compared with. */
export const peerSpecs: readonly PeerSpec[] = [
  chairlift(
    { name: 'chairlift', label: 'chairlift', description: 'This project, as it is installed.' },
    'prebuilt',
  ),
  localBuild,
  llamaServer(
    {
      name: 'llama-server',
      label: 'llama-server',
      description: 'The C++ server of the same llama.cpp release, at its best flags.',
    },
    bestFlags,
  ),
  llamaServer(
    {
      name: 'llama-server-default',
      label: 'llama-server, defaults',
      description:
        'The same with nothing set but model, slots, context and threads: batches of 2048 and 512, idle prompts kept in RAM.',
      scenarios: ['interference', 'multi-turn'],
    },
    [],
  ),
  llamaServer(
    {
      name: 'llama-server-unified',
      label: 'llama-server, -kvu',
      description:
        'The same with one KV buffer for all slots (-kvu): rows of any slots share a pass, every row looks at all cells.',
      scenarios: ['throughput', 'shared-prefix-200', 'sparse'],
      allSeedsIn: ['throughput', 'sparse'],
    },
    [...bestFlags, '-kvu'],
  ),
  nodeServer(
    {
      name: 'naive',
      label: 'sequence.evaluate()',
      description:
        "What one would write oneself: fastify over node-llama-cpp's public sequence.evaluate(), one sequence per request.",
    },
    (slots) => slots,
  ),
  nodeServer(
    {
      name: 'serial',
      label: 'one at a time',
      description: 'The same with a single sequence: requests wait for each other.',
    },
    () => 1,
  ),
];

/**
 * "all" leaves out what is not built here.
 * @throws RangeError that lists the known names
 */
export function selectPeers(names: readonly string[]): PeerSpec[] {
  for (const name of names) {
    if (name !== 'all' && !peerSpecs.some((peer) => peer.name === name)) {
      throw new RangeError(
        `Unknown peer "${name}"; known: all, ${peerSpecs.map((peer) => peer.name).join(', ')}.`,
      );
    }
  }
  return peerSpecs.filter(
    (peer) =>
      names.includes(peer.name) || (names.includes('all') && (peer !== localBuild || hasLocalBuild())),
  );
}
