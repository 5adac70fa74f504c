import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, truncateSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type Row, type SlotOperation, workOf } from '../../scheduler/index.js';
import { LlamaEngine } from '../../src/engine/llama/llama-engine.js';
import { SnapshotStore } from '../../src/engine/llama/snapshot-store.js';
import { greedySampling } from '../../src/engine/sampling-parameters.js';
import { tinyModelPath } from '../support/models.js';

let engine: LlamaEngine;
const parent = mkdtempSync(join(tmpdir(), 'slot-operations-'));
const store = new SnapshotStore(parent);

beforeAll(async () => {
  const { getLlama } = await import('node-llama-cpp');
  const llama = await getLlama({ build: 'never', progressLogs: false, maxThreads: 1 });
  const model = await llama.loadModel({ modelPath: tinyModelPath });
  const shape = { sequences: 4, contextSize: 256, batchSize: 64, threads: 1 };
  const context = await model.createContext({ ...shape, flashAttention: 'auto' });
  engine = await LlamaEngine.open(model, context, {
    endTokens: new Set(),
    reusePrefixes: true,
    snapshots: { store, limitBytes: 1e9 },
    samplesOneByOne: false,
  });
  for (let slot = 0; slot < 4; slot += 1) engine.openSampler(slot, greedySampling, new Uint32Array(0));
});
afterAll(async () => {
  await engine.close();
  expect(readdirSync(parent)).toEqual([]);
  rmSync(parent, { recursive: true });
});

const tokens = (length: number, first = 300) => Uint32Array.from({ length }, (_, at) => first + at);

async function run(
  operations: SlotOperation[],
  ...rows: [slot: number, firstPosition: number, Uint32Array][]
) {
  const planned: Row[] = rows.map(([slot, firstPosition, values]) => ({
    sequenceId: slot,
    slot,
    firstPosition,
    tokens: values,
    sample: true,
  }));
  const { result, timings } = await engine.run({
    tick: 1,
    operations,
    rows: planned,
    work: workOf(planned, 512),
    threads: 1,
  });
  return { result, timings };
}

const clearAll: SlotOperation[] = [0, 1, 2, 3].map((slot) => ({ kind: 'truncate', slot, keepTokens: 0 }));
const held = () => [0, 1, 2, 3].map((slot) => engine.slotTokens(slot));

/** The token after `values`, computed cold. */
async function cold(values: Uint32Array): Promise<number> {
  const { result } = await run(clearAll, [3, 0, values]);
  return result.outcome === 'decoded' ? result.sampledTokens[0]! : -1;
}

describe('slot operations on the real addon', () => {
  it('copies from a slot that goes on decoding, and the copy answers like a cold one', async () => {
    const question = tokens(30);
    const expected = await cold(question);
    await run(clearAll, [0, 0, tokens(40)]);
    const { result, timings } = await run(
      [{ kind: 'copy', fromSlot: 0, toSlot: 2, keepTokens: 29 }],
      [0, 40, tokens(1, 7)],
      [2, 29, question.subarray(29)],
    );
    expect(result).toMatchObject({ outcome: 'decoded', sampledTokens: [expect.any(Number), expected] });
    expect(timings.operations).toMatchObject([{ kind: 'copy', failed: false }]);
    expect(held()).toEqual([41, 0, 30, 0]);
  });

  it('saves, overwrites and restores', async () => {
    const question = tokens(30);
    const expected = await cold(question);
    await run(clearAll, [0, 0, tokens(40)]);
    const saved = await run(
      [{ kind: 'save', slot: 0, snapshotId: 5, tokens: tokens(40) }, ...clearAll],
      [0, 0, tokens(9, 400)],
    );
    expect(saved.result.saves).toMatchObject([{ snapshotId: 5, bytes: expect.any(Number) }]);
    const restored = await run(
      [{ kind: 'restore', slot: 1, snapshotId: 5, keepTokens: 29 }],
      [1, 29, question.subarray(29)],
    );
    expect(restored.result).toMatchObject({ outcome: 'decoded', sampledTokens: [expected] });
    expect(readdirSync(join(parent, readdirSync(parent)[0]!))).toEqual(['5.kv']);
    await run([{ kind: 'forget', snapshotId: 5 }], [1, 30, tokens(1)]);
    await expect.poll(() => readdirSync(join(parent, readdirSync(parent)[0]!))).toEqual([]);
  });

  it('restores, then copies what was restored, in one plan', async () => {
    const question = tokens(30);
    const expected = await cold(question);
    await run(clearAll, [0, 0, tokens(40)]);
    await run([{ kind: 'save', slot: 0, snapshotId: 6, tokens: tokens(40) }], [1, 0, tokens(3)]);
    const { result } = await run(
      [
        { kind: 'restore', slot: 1, snapshotId: 6, keepTokens: 29 },
        { kind: 'copy', fromSlot: 1, toSlot: 2, keepTokens: 29 },
        { kind: 'copy', fromSlot: 2, toSlot: 3, keepTokens: 29 },
      ],
      ...[1, 2, 3].map((slot): [number, number, Uint32Array] => [slot, 29, question.subarray(29)]),
    );
    expect(result).toMatchObject({ sampledTokens: [expected, expected, expected] });
  });

  it.each<[string, SlotOperation]>([
    ['a copy of more than the donor holds', { kind: 'copy', fromSlot: 0, toSlot: 1, keepTokens: 41 }],
    ['a copy onto itself', { kind: 'copy', fromSlot: 1, toSlot: 1, keepTokens: 3 }],
    ['a copy from no slot', { kind: 'copy', fromSlot: 9, toSlot: 1, keepTokens: 3 }],
    ['a snapshot that is missing', { kind: 'restore', slot: 1, snapshotId: 99, keepTokens: 3 }],
    ['a snapshot that is shorter', { kind: 'restore', slot: 1, snapshotId: 7, keepTokens: 50 }],
    ['a snapshot that is damaged', { kind: 'restore', slot: 1, snapshotId: 8, keepTokens: 20 }],
    ['a cut beyond the end', { kind: 'truncate', slot: 1, keepTokens: 50 }],
  ])('empties the slot and reports it lost after %s', async (_, operation) => {
    await run(clearAll, [0, 0, tokens(40)], [1, 0, tokens(5)]);
    const saves = [7, 8].map(
      (snapshotId): SlotOperation => ({ kind: 'save', slot: 0, snapshotId, tokens: tokens(40) }),
    );
    await run(saves, [2, 0, tokens(1)]);
    truncateSync(store.path(8), 3000);
    const { result } = await run([operation], [1, 3, tokens(1)]);
    expect(result).toMatchObject({ outcome: 'slots-lost', slots: [1] });
    expect(held()).toEqual([40, 0, 1, 0]);
  });

  it('reports a save that fails and keeps the slot', async () => {
    await run(clearAll, [0, 0, tokens(40)]);
    const wrong: SlotOperation = { kind: 'save', slot: 0, snapshotId: 11, tokens: tokens(39) };
    mkdirSync(store.path(12));
    const blocked: SlotOperation = { kind: 'save', slot: 0, snapshotId: 12, tokens: tokens(40) };
    const { result, timings } = await run([wrong, blocked], [0, 40, tokens(1)]);
    expect(result.saves).toEqual([
      { snapshotId: 11, bytes: null },
      { snapshotId: 12, bytes: null },
    ]);
    expect(timings.operations!.map(({ failed }) => failed)).toEqual([true, true]);
    expect(held()[0]).toBe(41);
  });
});

describe('SnapshotStore', () => {
  it('sweeps what dead processes left, and nothing else', () => {
    const shared = mkdtempSync(join(tmpdir(), 'snapshot-sweep-'));
    const names = [
      `chairlift-snapshots-${hostname()}-4194300-77-1`,
      `chairlift-snapshots-${hostname()}-${process.pid}-77-1`,
      'chairlift-snapshots-another-host-4194300-77-1',
      'precious',
    ];
    for (const name of names) mkdirSync(join(shared, name));
    const living = new SnapshotStore(shared);
    const second = new SnapshotStore(shared);
    expect(
      readdirSync(shared)
        .filter((name) => names.includes(name))
        .sort(),
    ).toEqual(names.slice(2).sort());
    expect(readdirSync(shared)).toHaveLength(4);
    living.close();
    second.close();
    expect(readdirSync(shared).sort()).toEqual(names.slice(2).sort());
    rmSync(shared, { recursive: true });
  });

  it('leaves nothing at exit, and what a killed process left goes with the next start', async () => {
    const shared = mkdtempSync(join(tmpdir(), 'snapshot-exit-'));
    const module = new URL('../../src/engine/llama/snapshot-store.ts', import.meta.url).href;
    const run = async (then: string) => {
      const script = `import { SnapshotStore } from '${module}'; new SnapshotStore('${shared}'); ${then}`;
      const child = spawn(process.execPath, ['--import', 'tsx', '--input-type=module', '-e', script], {
        stdio: 'ignore',
      });
      await once(child, 'exit');
    };
    await run('process.exitCode = 3');
    await run("throw new Error('crash')");
    expect(readdirSync(shared)).toEqual([]);
    await run("process.kill(process.pid, 'SIGKILL')");
    expect(readdirSync(shared)).toHaveLength(1);
    new SnapshotStore(shared).close();
    expect(readdirSync(shared)).toEqual([]);
    rmSync(shared, { recursive: true });
  });
});
