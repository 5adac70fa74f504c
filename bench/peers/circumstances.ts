import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { basename, join } from 'node:path';
import { packageFolder } from '../../src/models/package-folder.js';
import { machineInfo } from '../report/machine.js';
import type { BenchResults, Subject } from '../report/results.js';
import type { LoadOptions } from '../scenarios/scenario.js';
import type { PeerBinaries } from './prepare.js';
import { type PeerSpec, peerSpecs } from './specs.js';

/**
 * What must be the same for runs to meet in one table, as one line per thing that differs. Commits of chairlift may
 * differ: each run carries its own.
 */
export function differences(kept: BenchResults, wanted: BenchResults): string[] {
  const facts = ({ machine, model, options, versions }: BenchResults): Record<string, string> => ({
    machine: `${machine.cpu}, ${machine.cores} cores`,
    node: machine.node,
    model: model.sha256 ?? model.name,
    load: JSON.stringify({ ...options, capacityRequestsPerSecond: undefined }),
    ...versions,
    chairlift: '',
  });
  const [before, now] = [facts(kept), facts(wanted)];
  return Object.keys(now)
    .filter((name) => before[name] !== now[name])
    .map((name) => `${name}: ${before[name] ?? 'unknown'}, now ${now[name]}`);
}

/** Results without runs: who, what, where. */
export function newResults(options: LoadOptions, modelPath: string): BenchResults {
  const now = new Date().toISOString();
  const content = readFileSync(modelPath);
  return {
    format: 2,
    createdAt: now,
    updatedAt: now,
    machine: machineInfo(),
    model: {
      name: basename(modelPath),
      sizeBytes: statSync(modelPath).size,
      sha256: createHash('sha256').update(content).digest('hex'),
    },
    versions: {},
    options,
    subjects: [],
    runs: [],
  };
}

/** Brings the parts that describe this machine and these servers up to date, before more runs are added. */
export function refreshCircumstances(
  results: BenchResults,
  peers: readonly PeerSpec[],
  binaries: PeerBinaries,
  profile: { threads: number; slots: number },
): void {
  results.machine = machineInfo();
  results.versions = {
    'node-llama-cpp': packageVersion('node-llama-cpp'),
    'llama.cpp': `${binaries.release}; llama-server: ${binaries.build}`,
    chairlift: chairliftVersion(),
    Threads: `${profile.threads} for every server`,
    Slots: `${profile.slots} for every server`,
  };
  const known = new Map(results.subjects.map((subject) => [subject.name, subject]));
  for (const peer of peers)
    known.set(peer.name, { ...subjectOf(peer), commands: known.get(peer.name)?.commands ?? [] });
  results.subjects = peerSpecs.flatMap(({ name }) => known.get(name) ?? []);
}

function subjectOf({ name, label, description }: PeerSpec): Subject {
  return { name, label, description, version: '', commands: [] };
}

function packageVersion(name: string): string {
  return (JSON.parse(readFileSync(join(packageFolder(name), 'package.json'), 'utf8')) as { version: string })
    .version;
}

function chairliftVersion(): string {
  const { version } = JSON.parse(readFileSync(join(process.cwd(), 'package.json'), 'utf8')) as {
    version: string;
  };
  const git = (...args: string[]): string =>
    spawnSync('git', args, { encoding: 'utf8' }).stdout?.trim() ?? '';
  const commit = git('describe', '--always');
  if (commit === '') return version;
  const isChanged = git('status', '--porcelain', '--', 'src', 'scheduler', 'package.json') !== '';
  return `${version} (${commit}${isChanged ? ', changed' : ''})`;
}
