import { expect, it } from 'vitest';
import { differences } from '../../bench/peers/circumstances.js';
import { expectedTotalSeconds, officialOptions, scheduleOf } from '../../bench/peers/schedule.js';
import { selectPeers } from '../../bench/peers/specs.js';
import type { BenchResults } from '../../bench/report/results.js';
import { selectScenarios } from '../../bench/scenarios/index.js';
import { sampleResults } from './support/sample-results.js';

const results: BenchResults = { ...sampleResults(), runs: [] };
const { options } = results;

function schedule(scenarios: string[], peers: string[], overrides = {}, kept = results) {
  return scheduleOf(
    {
      scenarios: selectScenarios(scenarios),
      peers: selectPeers(peers),
      seeds: [1, 2, 3],
      options,
      resume: false,
      ...overrides,
    },
    kept,
  );
}

it('goes there and back over the seeds, so that drift cancels out', () => {
  const order = schedule(['throughput'], ['chairlift', 'llama-server']).map(
    ({ peer, seed }) => `${peer.name} ${seed}`,
  );
  expect(order).toEqual([
    'chairlift 1',
    'llama-server 1',
    'llama-server 2',
    'chairlift 2',
    'chairlift 3',
    'llama-server 3',
  ]);
});

it('puts scenarios that share servers together, and each peer only where it belongs', () => {
  const runs = schedule(['all'], ['all']);
  const windows = runs.map(({ scenario }) => scenario.contextTokens);
  expect(windows).toEqual([...windows].sort((a, b) => a - b));
  const count = (scenario: string, peer: string): number =>
    runs.filter((run) => run.scenario.name === scenario && run.peer.name === peer).length;
  expect(count('interference', 'llama-server-default')).toBe(3);
  expect(count('throughput', 'llama-server-default')).toBe(0);
  expect(count('throughput', 'serial')).toBe(3);
  expect(count('overload', 'serial')).toBe(1);
  expect(count('shared-prefix-200', 'serial')).toBe(1);
  expect(count('shared-prompts-8', 'serial')).toBe(0);
  expect(count('shared-prefix-200', 'llama-server-unified')).toBe(1);
  expect(count('sparse', 'llama-server-unified')).toBe(3);
  expect(expectedTotalSeconds(runs)).toBeLessThan(3600);
});

it('resumes by scenario, peer, seed and window, and repeats what was cut short', () => {
  const [first, second, third] = schedule(['single'], ['chairlift']);
  const run = (seed: number, more = {}) => ({
    ...sampleResults().runs[0]!,
    scenario: 'single',
    seed,
    seconds: first!.options.seconds,
    ...more,
  });
  const kept = {
    ...results,
    runs: [run(1), run(2, { incomplete: 'it died' }), run(3, { seconds: 1 })],
  };
  const left = schedule(['single'], ['chairlift'], { resume: true }, kept);
  expect(left.map(({ seed }) => seed)).toEqual([second!.seed, third!.seed]);
});

it('takes the official window of a scenario, scaled with --seconds', () => {
  const [overload] = selectScenarios(['overload']);
  expect(officialOptions(options, overload!)).toMatchObject({ seconds: 20 });
  expect(officialOptions({ ...options, seconds: 3 }, overload!)).toMatchObject({ seconds: 5 });
});

it('expects a run to take what it took before', () => {
  const [planned] = schedule(['single'], ['chairlift']);
  const known = {
    ...sampleResults().runs[0]!,
    scenario: 'single',
    seconds: planned!.options.seconds,
    elapsedSeconds: 99,
  };
  const [again] = schedule(['single'], ['chairlift'], {}, { ...results, runs: [known] });
  expect(again!.expectedSeconds).toBe(99);
});

it('does not mix machines, loads or releases, but commits of chairlift', () => {
  const other = (change: object) => ({ ...sampleResults(), ...change });
  const wanted = sampleResults();
  expect(differences(other({ versions: { ...wanted.versions, chairlift: 'x' } }), wanted)).toEqual([]);
  expect(differences(other({ machine: { ...wanted.machine, cpu: 'Other' } }), wanted)).toEqual([
    'machine: Other, 2 cores, now Pretended CPU, 2 cores',
  ]);
  expect(differences(other({ options: { ...options, seconds: 5 } }), wanted)).toHaveLength(1);
  expect(differences(other({ versions: { 'node-llama-cpp': '1' } }), wanted)).toHaveLength(1);
});
