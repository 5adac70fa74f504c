import { expect, it } from 'vitest';
import { createSimulatedRuntime } from '../../src/engine/simulated/simulated-engine.js';
import { TickTrace } from '../../src/serving/tick-trace.js';
import { requestFor, run, startCore } from '../support/core-client.js';

const cost = { perPassMs: 5, perTokenMs: 0, perContextTokenMs: 0 };

it('shows beginnings and ends in the shadow of decode, and text before the call is over', async () => {
  const core = startCore(
    createSimulatedRuntime({
      slotCount: 4,
      contextTokens: 256,
      batchTokens: 64,
      cost,
      meanLengthTokens: 1e9,
    }),
  );
  const recorded = core.trace(20);
  await Promise.all(
    [1, 2, 3].map((each) => run(core, requestFor(core, `number ${each}`, { maxTokens: 30 }))),
  );
  const events = await recorded;
  const named = (name: string) => events.filter((event) => event.name === name);
  expect(named('decode')).toHaveLength(20);
  for (const name of ['begin and end', 'text and sockets']) {
    expect(named(name)).toHaveLength(20);
    named(name).forEach((work, tick) => {
      const decode = named('decode')[tick]!;
      expect(work.ts).toBeGreaterThanOrEqual(decode.ts);
      expect(work.ts + work.dur).toBeLessThanOrEqual(decode.ts + decode.dur);
    });
  }
  expect(named('decode')[0]!.args).toMatchObject({ passes: 1, threads: expect.any(Number) });
  await core.close(0);
});

it('ends by itself when no tick comes, and records nothing when nobody asked', async () => {
  const trace = new TickTrace();
  trace.span('decode', 'native', 0, 1);
  const recorded = trace.record(5, 20);
  trace.span('plan', 'javascript', 1, 2);
  expect(await recorded).toEqual([{ name: 'plan', ph: 'X', ts: 1000, dur: 1000, pid: 1, tid: 1 }]);
});

it('gives the first recording what it has when a second one starts', async () => {
  const trace = new TickTrace();
  const first = trace.record(5, 1_000);
  trace.span('plan', 'javascript', 1, 2);
  const second = trace.record(1, 1_000);
  trace.tickEnded();
  expect(await first).toHaveLength(1);
  expect(await second).toEqual([]);
});
