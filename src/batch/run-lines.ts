import { setMaxListeners } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import type { BatchInput } from './batch-input.js';
import type { BatchLine } from './batch-line.js';
import type { BatchMetrics } from './batch-metrics.js';
import type { Journal, JournalEntry } from './journal.js';
import { type LineAnswer, type LineAnswerer, LineDelayed } from './line-answerer.js';
import type { LineGate } from './line-gate.js';
import { newLineId } from './object-ids.js';

export interface LineRun {
  input: BatchInput;
  journal: Journal;
  answerer: LineAnswerer;
  gate: LineGate;
  tenant: string;
  metrics: BatchMetrics | null;
  /** Ends the run early: no line is begun any more, those under way are given up. */
  stop: AbortSignal;
}

/**
 * Answers every line that has no answer yet, each once, in the order that shares most.
 * @throws Error when the journal cannot be written; the lines under way are given up then
 */
export async function runLines(run: LineRun): Promise<void> {
  const failure = new AbortController();
  const stop = AbortSignal.any([run.stop, failure.signal]);
  // A listener per line under way is meant.
  setMaxListeners(0, stop);
  const underWay = new Set<Promise<void>>();
  for (const line of run.input.order) {
    if (run.journal.has(line)) continue;
    await run.gate.enter();
    if (stop.aborted) {
      run.gate.leave();
      break;
    }
    const done = runLine(run, line, stop)
      .catch((error) => failure.abort(error))
      .finally(() => {
        underWay.delete(done);
        run.gate.leave();
      });
    underWay.add(done);
  }
  await Promise.all(underWay);
  if (failure.signal.aborted) throw failure.signal.reason;
}

async function runLine(run: LineRun, number: number, stop: AbortSignal): Promise<void> {
  const line = await run.input.read(number);
  const answer = await answerPatiently(run, line, stop);
  if (answer === null) return;
  const entry = journalEntry(number, line.customId, answer);
  await run.journal.append(entry);
  run.metrics?.lineAnswered(entry);
}

/** @returns null if `stop` aborted first */
async function answerPatiently(
  { answerer, tenant, metrics }: LineRun,
  line: BatchLine,
  stop: AbortSignal,
): Promise<LineAnswer | null> {
  while (!stop.aborted) {
    try {
      return await answerer.answer(line, tenant, stop);
    } catch (error) {
      if (!(error instanceof LineDelayed)) throw error;
      metrics?.lineDelayed();
      await sleep(error.afterMs, undefined, { signal: stop }).catch(() => {});
    }
  }
  return null;
}

function journalEntry(line: number, customId: string, answer: LineAnswer): JournalEntry {
  const { status, requestId, body, tokens } = answer;
  const output = {
    id: newLineId(),
    custom_id: customId,
    response: { status_code: status, request_id: requestId, body },
    error: null,
  };
  return { line, failed: status >= 400, tokens, output };
}
