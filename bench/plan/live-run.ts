import { type TickPlan, type TickWork, throughputFirst } from '../../scheduler/index.js';
import type { ModelRuntime } from '../../src/engine/engine.js';
import { greedySampling } from '../../src/engine/sampling-parameters.js';
import { silentObserver } from '../../src/metrics/serving-observer.js';
import { LocalServingCore } from '../../src/serving/local-serving-core.js';
import { Random } from '../load/random.js';
import type { FleetOptions, PlannedRequest, RequestOutcome } from './fleet.js';

export interface TimedTick {
  work: TickWork;
  startMs: number;
  decodeMs: number;
}

/** Writes down what every decode call had to do and how long it took. */
export function recordTicks({ engine }: ModelRuntime): TimedTick[] {
  const ticks: TimedTick[] = [];
  const run = engine.run.bind(engine);
  engine.run = async (plan: TickPlan) => {
    const startMs = performance.now();
    const done = await run(plan);
    ticks.push({ work: plan.work, startMs, decodeMs: done.timings.decodeMs });
    return done;
  };
  return ticks;
}

export function openCore(runtime: ModelRuntime, threads: number): LocalServingCore {
  const { engine } = runtime;
  return new LocalServingCore({
    runtime,
    model: {
      id: runtime.name,
      createdSeconds: 0,
      source: runtime.name,
      sizeBytes: runtime.sizeBytes,
      contextTokens: engine.contextTokens,
      slotCount: engine.slotCount,
    },
    policy: { ...throughputFirst, threadChoices: [threads] },
    measurements: [],
    limits: { maxWaiting: 10_000, maxWaitingTokens: 10_000_000 },
    observer: silentObserver,
    nowMs: () => performance.now(),
    onFault: (message, error) => {
      throw new Error(message, { cause: error });
    },
  });
}

/** The load of a simulated fleet, on the real core; times are milliseconds since its start. */
export async function runLive(
  core: LocalServingCore,
  { load, draw }: FleetOptions,
  label: string,
): Promise<RequestOutcome[]> {
  const startMs = performance.now();
  const nowMs = () => performance.now() - startMs;
  const outcomes: RequestOutcome[] = [];
  let drawn = 0;
  const ask = async (): Promise<void> => {
    const request = draw(drawn);
    drawn += 1;
    const outcome = { arrivalMs: nowMs(), tokenTimesMs: [], promptTokens: request.promptTokens };
    outcomes.push(outcome);
    await generate(core, request, `${label}-${drawn}`, outcome.tokenTimesMs, nowMs);
  };
  if (load.kind === 'closed') {
    const client = async (): Promise<void> => {
      while (nowMs() < load.untilMs) await ask();
    };
    await Promise.all(Array.from({ length: load.clients }, client));
    return outcomes;
  }
  const open: Promise<void>[] = [];
  for (const arrivalMs of load.arrivalsMs) {
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, arrivalMs - nowMs())));
    open.push(ask());
  }
  await Promise.all(open);
  return outcomes;
}

function generate(
  core: LocalServingCore,
  { promptTokens, outputTokens }: PlannedRequest,
  id: string,
  tokenTimesMs: number[],
  nowMs: () => number,
): Promise<void> {
  const random = new Random(id);
  const highest = core.codec.vocabularySize - 1;
  const prompt = Uint32Array.from({ length: promptTokens }, () =>
    random.integer(Math.floor(highest / 4), Math.floor(highest / 2)),
  );
  return new Promise((resolve) => {
    core.submit(
      {
        id,
        prompts: [prompt],
        choicesPerPrompt: 1,
        maxTokens: outputTokens,
        sampling: { ...greedySampling, ignoreEndToken: true },
        stopStrings: [],
        priorityClass: 'interactive',
        tenant: 'validation',
        cacheSalt: '',
        queueTimeoutMs: null,
      },
      (event) => {
        if (event.type === 'finished') resolve();
        else for (const _ of event.tokens) tokenTimesMs.push(nowMs());
      },
    );
  });
}
