import { buildPrompt } from '../load/prompts.js';
import { Random } from '../load/random.js';
import type { RequestRecord } from '../load/records.js';
import { sendStreaming } from '../load/stream-client.js';
import type { Target } from '../load/target.js';
import type { FleetOptions, RequestOutcome } from './fleet.js';

const timeoutMs = 120_000;

export interface LiveRun {
  outcomes: RequestOutcome[];
  /** Chunks with text per generated token: below 1 where a token had none, or shared its chunk. */
  chunksPerToken: number;
}

/** The load of a simulated fleet, sent over HTTP to a real server; times are milliseconds since its start. */
export async function runLive(
  target: Target,
  { load, draw }: Pick<FleetOptions, 'load' | 'draw'>,
  label: string,
): Promise<LiveRun> {
  const startMs = performance.now();
  const nowMs = () => performance.now() - startMs;
  const records: RequestRecord[] = [];
  let drawn = 0;
  const ask = async (scheduledMs: number): Promise<void> => {
    const { promptTokens, outputTokens } = draw(drawn);
    drawn += 1;
    const prompt = buildPrompt(promptTokens, target.calibration, new Random(`${label}-${drawn}`));
    const { endpoint, shape } = target;
    const record = await sendStreaming(
      { prompt, promptTokens, outputTokens },
      { endpoint, shape, timeoutMs, scheduledAtMs: startMs + scheduledMs },
    );
    if (record.outcome !== 'ok') throw new Error(`a request of ${label} ${record.outcome}: ${record.error}`);
    records.push(record);
  };
  if (load.kind === 'closed') {
    const client = async (): Promise<void> => {
      while (nowMs() < load.untilMs) await ask(nowMs());
    };
    await Promise.all(Array.from({ length: load.clients }, client));
  } else {
    const open: Promise<void>[] = [];
    for (const arrivalMs of load.arrivalsMs) {
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, arrivalMs - nowMs())));
      open.push(ask(arrivalMs));
    }
    await Promise.all(open);
  }
  const chunks = records.reduce((sum, { chunkAtMs }) => sum + chunkAtMs.length, 0);
  const tokens = records.reduce((sum, { outputTokens }) => sum + (outputTokens ?? 0), 0);
  const outcomes = records.map(({ scheduledAtMs, chunkAtMs, requestedPromptTokens }) => ({
    arrivalMs: scheduledAtMs - startMs,
    tokenTimesMs: chunkAtMs.map((atMs) => atMs - startMs),
    promptTokens: requestedPromptTokens,
  }));
  return { outcomes, chunksPerToken: chunks / tokens };
}
