import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { defaultOperationCosts } from '../../scheduler/index.js';
import type { NativeContext } from '../../src/engine/llama/native-context.js';
import { openSnapshots } from '../../src/engine/llama/open-snapshots.js';
import { probeSlots } from '../../src/engine/llama/probe-slots.js';
import { SnapshotStore } from '../../src/engine/llama/snapshot-store.js';

const bytesPerToken = 20_000;

/** One slot of a context that cuts, saves and loads as told. */
function fakeNative(abilities: { cuts: boolean; saves: boolean; loads: boolean }) {
  let held = 0;
  let batch = 0;
  const native: Partial<NativeContext> = {
    initBatch() {},
    addToBatch(_slot, _firstPosition, tokens) {
      batch = tokens.length;
      return Uint32Array.of(0);
    },
    async decodeBatch() {
      held += batch;
    },
    getSequenceKvCacheMaxPosition: () => held - 1,
    removeTokenCellsFromSequence(_slot, from) {
      if (abilities.cuts) held = from;
      return abilities.cuts;
    },
    disposeSequence() {
      held = 0;
    },
    async saveSequenceStateToFile(path, _slot, tokens) {
      if (!abilities.saves) throw new Error('no space left');
      writeFileSync(path, 'state');
      return tokens.length * bytesPerToken;
    },
    async loadSequenceStateFromFile() {
      if (!abilities.loads) throw new Error('failed to restore');
      held = 32;
      return new Uint32Array(32);
    },
  };
  return { native: native as NativeContext, held: () => held };
}

const everything = { cuts: true, saves: true, loads: true };
const shape = { contextTokens: 2048, batchTokens: 8 };

async function probeWithStore(abilities: typeof everything) {
  const parent = mkdtempSync(join(tmpdir(), 'probe-'));
  const store = new SnapshotStore(parent);
  const { native, held } = fakeNative(abilities);
  const probed = await probeSlots(native, shape, store);
  expect(held()).toBe(0);
  expect(readdirSync(join(parent, readdirSync(parent)[0]!))).toEqual([]);
  store.close();
  rmSync(parent, { recursive: true });
  return probed;
}

describe('probing a slot at boot', () => {
  it('finds that it can be cut and saved, and what that costs', async () => {
    const { operationCosts, ...abilities } = await probeWithStore(everything);
    expect(abilities).toEqual({ canForgetTails: true, canSave: true, bytesPerToken });
    expect(operationCosts.copyMs).toBeCloseTo((2048 * bytesPerToken) / 5e6);
    expect(operationCosts.saveMsPerToken).toBeGreaterThan(operationCosts.restoreMsPerToken);
  });

  it('finds models that cannot forget a tail', async () => {
    expect(await probeWithStore({ ...everything, cuts: false })).toMatchObject({ canForgetTails: false });
  });

  it.each([{ saves: false }, { loads: false }])('finds that states do not come back: %o', async (missing) => {
    expect(await probeWithStore({ ...everything, ...missing })).toMatchObject({
      canForgetTails: true,
      canSave: false,
    });
  });

  it('does without a store', async () => {
    const probed = await probeSlots(fakeNative(everything).native, shape, null);
    const nothing = { canForgetTails: true, canSave: false, bytesPerToken: 0 };
    expect(probed).toEqual({ ...nothing, operationCosts: defaultOperationCosts });
  });
});

describe('the place for snapshots', () => {
  it('is nowhere when none are wanted', () => {
    expect(openSnapshots({ directory: null, limitBytes: 0 })).toBeNull();
  });

  it('is in shared memory by default, with a share of what is free', () => {
    const opened = openSnapshots({ directory: null, limitBytes: null });
    expect(opened !== null).toBe(existsSync('/dev/shm'));
    if (!opened) return;
    expect(opened.store.path(1)).toMatch(/^\/dev\/shm\/chairlift-snapshots-/);
    expect(opened.limitBytes).toBeGreaterThan(0);
    opened.store.close();
  });

  it('is created where it is asked for, or refused in plain words', () => {
    const parent = mkdtempSync(join(tmpdir(), 'snapshots-'));
    const opened = openSnapshots({ directory: join(parent, 'new', 'place'), limitBytes: 1000 });
    expect(opened).toMatchObject({ limitBytes: 1000 });
    opened!.store.close();
    writeFileSync(join(parent, 'file'), '');
    expect(() => openSnapshots({ directory: join(parent, 'file', 'below'), limitBytes: null })).toThrow(
      /snapshots cannot be kept in .*below/,
    );
    rmSync(parent, { recursive: true });
  });
});
