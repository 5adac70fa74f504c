import { setMaxListeners } from 'node:events';
import type { RequestRecord, RequestSpec } from './records.js';

/** The part of a run that counts, in ms of `performance.now()`. */
export interface MeasureWindow {
  startMs: number;
  endMs: number;
}

export interface DriverResult {
  /** Who decides when a request leaves: its client's last one, or the schedule. */
  loop: 'closed' | 'open';
  records: RequestRecord[];
  window: MeasureWindow;
  /** How late the generator itself sent each open-loop request. */
  sendLagMs: number[];
}

/** Sends one request and resolves with its record; `cut` ends it early. */
export type Send = (
  spec: RequestSpec,
  options: { cut: AbortSignal; scheduledAtMs?: number; onToken?: () => void },
) => Promise<RequestRecord>;

export interface DriverTiming {
  warmupMs: number;
  measureMs: number;
  /** How long requests still running at the end may take before they are cut as "unfinished". */
  drainMs: number;
  /** Ends the whole run. */
  signal: AbortSignal;
}

/** A server that needs longer than the warm-up to give every client a first token gets so much more. */
const patienceWithWarmupMs = 15_000;

export interface ClosedLoopOptions extends DriverTiming {
  clients: number;
  send: Send;
  /** The next request of a client; undefined when that client is done. `previous` is its last record. */
  nextRequest: (client: number, turn: number, previous?: RequestRecord) => RequestSpec | undefined;
  thinkMs?: (client: number) => number;
}

/**
 * Every client sends its next request when the last one has ended. The window opens when the warm-up is over and every
 * client has seen a token, so that a slow server is not measured while it still fills its slots.
 */
export async function runClosedLoop(options: ClosedLoopOptions): Promise<DriverResult> {
  const { warmupMs, measureMs, drainMs, signal, send } = options;
  const startMs = performance.now();
  const window = { startMs: Number.POSITIVE_INFINITY, endMs: Number.POSITIVE_INFINITY };
  const records: RequestRecord[] = [];
  const cut = cutter(signal);
  const open = (): void => {
    if (window.startMs < Number.POSITIVE_INFINITY) return;
    window.startMs = performance.now();
    window.endMs = window.startMs + measureMs;
    cut.after(measureMs + drainMs);
  };
  const cold = new Set(Array.from({ length: options.clients }, (_, client) => client));
  const warmed = (client: number): void => {
    cold.delete(client);
    if (cold.size === 0 && performance.now() >= startMs + warmupMs) open();
  };
  const timers = [
    setTimeout(() => cold.size === 0 && open(), warmupMs),
    setTimeout(open, warmupMs + (warmupMs > 0 ? patienceWithWarmupMs : 0)),
  ];
  if (warmupMs === 0) open();
  const runClient = async (client: number): Promise<void> => {
    let previous: RequestRecord | undefined;
    for (let turn = 0; performance.now() < window.endMs && !signal.aborted; turn += 1) {
      const spec = options.nextRequest(client, turn, previous);
      if (!spec) break;
      previous = await send(spec, { cut: cut.signal, onToken: () => warmed(client) });
      records.push(previous);
      warmed(client);
      const pauseMs =
        previous.outcome === 'rejected' ? backoffMs(previous) : (options.thinkMs?.(client) ?? 0);
      if (pauseMs > 0 || previous.outcome === 'failed') {
        await sleep(Math.min(Math.max(pauseMs, 50), Math.max(0, window.endMs - performance.now())), signal);
      }
    }
    warmed(client);
  };
  try {
    await Promise.all(Array.from({ length: options.clients }, (_, client) => runClient(client)));
  } finally {
    cut.clear();
    for (const timer of timers) clearTimeout(timer);
  }
  open();
  return { loop: 'closed', records, window: endedBy(window, signal), sendLagMs: [] };
}

export interface FixedWorkOptions extends Omit<ClosedLoopOptions, keyof DriverTiming> {
  /** Work that is not done by then is cut. */
  limitMs: number;
  signal: AbortSignal;
}

/** A closed loop whose clients run out of requests: the window is from the first request to the last answer. */
export async function runFixedWork({ limitMs, ...options }: FixedWorkOptions): Promise<DriverResult> {
  const result = await runClosedLoop({ ...options, warmupMs: 0, measureMs: limitMs, drainMs: 0 });
  const { startMs } = result.window;
  const lastMs = Math.max(startMs, ...result.records.map(({ finishedAtMs }) => finishedAtMs));
  // A window does not hold its end; the last answer belongs to it.
  return { ...result, window: { startMs, endMs: lastMs + 1 } };
}

export interface OpenLoopOptions extends DriverTiming {
  /** From the start of the warm-up, ascending. */
  arrivalsMs: readonly number[];
  request: (index: number) => RequestSpec;
  send: Send;
}

/** Requests leave at their precomputed times, whatever the server does. */
export async function runOpenLoop(options: OpenLoopOptions): Promise<DriverResult> {
  const { arrivalsMs, warmupMs, measureMs, drainMs, signal, send } = options;
  const startMs = performance.now();
  const window = { startMs: startMs + warmupMs, endMs: startMs + warmupMs + measureMs };
  const cut = cutter(signal);
  cut.after(warmupMs + measureMs + drainMs);
  const sendLagMs: number[] = [];
  const running: Promise<RequestRecord>[] = [];
  for (const [index, arrivalMs] of arrivalsMs.entries()) {
    const scheduledAtMs = startMs + arrivalMs;
    const waitMs = scheduledAtMs - performance.now();
    if (waitMs > 0) await sleep(waitMs, signal);
    if (signal.aborted) break;
    sendLagMs.push(Math.max(0, performance.now() - scheduledAtMs));
    running.push(send(options.request(index), { cut: cut.signal, scheduledAtMs }));
  }
  try {
    const records = await Promise.all(running);
    return { loop: 'open', records, window: endedBy(window, signal), sendLagMs };
  } finally {
    cut.clear();
  }
}

/** A run that was stopped counts only what it measured. */
function endedBy(window: MeasureWindow, signal: AbortSignal): MeasureWindow {
  if (!signal.aborted) return window;
  return {
    startMs: window.startMs,
    endMs: Math.max(window.startMs + 1, Math.min(window.endMs, performance.now())),
  };
}

/** What a polite client waits after a refusal, bounded so that a closed loop keeps its pressure. */
function backoffMs(record: RequestRecord): number {
  return Math.min((record.retryAfterSeconds ?? 0.25) * 1000, 1000);
}

function cutter(signal: AbortSignal) {
  const controller = new AbortController();
  setMaxListeners(0, controller.signal, signal);
  const cut = (): void => controller.abort();
  let timer: NodeJS.Timeout | undefined;
  signal.addEventListener('abort', cut, { once: true });
  if (signal.aborted) cut();
  return {
    signal: controller.signal,
    after: (timeoutMs: number) => {
      timer = setTimeout(cut, timeoutMs);
    },
    clear: () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', cut);
    },
  };
}

export function sleep(durationMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (durationMs <= 0 || signal?.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, durationMs);
    signal?.addEventListener('abort', done);
  });
}
