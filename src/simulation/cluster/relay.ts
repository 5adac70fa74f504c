import { eventOf, type Frame, frameOf, parseFrame } from '../../overflow/frame.js';
import { endingOf } from '../../overflow/job-cost.js';
import type { GenerationEvent } from '../../serving/serving-core.js';
import type { ClusterRules } from './cluster-rules.js';
import type { ClusterTimes } from './cluster-scenario.js';
import type { SimulatedFrame, SimulatedRedis } from './simulated-redis.js';
import type { StoreConnection } from './store-connection.js';

export interface RelayParts {
  requestId: string;
  redis: SimulatedRedis;
  connection: StoreConnection;
  times: ClusterTimes;
  rules: ClusterRules;
  /** Runs something later in this process. */
  later: (delayMs: number, action: () => void) => void;
}

/** `src/overflow/relay-writer.ts` in simulated time: in order, one write at a time, repeated until it is answered. */
export class SimulatedWriter {
  private readonly parts: RelayParts;
  private readonly attempt: number;
  private readonly onFenced: () => void;
  private readonly waiting: Frame[] = [];
  private sequence = 0;
  private isWriting = false;
  private isScheduled = false;
  private isClosed = false;
  private onEmpty: (() => void) | null = null;

  constructor(parts: RelayParts, attempt: number, onFenced: () => void) {
    this.parts = parts;
    this.attempt = attempt;
    this.onFenced = onFenced;
  }

  push(event: GenerationEvent): void {
    if (this.isClosed) return;
    const frame = frameOf(event, 0);
    const last = this.waiting.findLast((each) => 'c' in each && 'c' in frame && each.c === frame.c);
    if (last && 't' in last && 't' in frame) last.k.push(...frame.k);
    else this.waiting.push(frame);
    this.schedule('r' in frame ? 0 : this.parts.times.frameMs);
  }

  /** @param action happens when everything is in the store, or refused by it */
  whenEmpty(action: () => void): void {
    if (this.isClosed || (this.waiting.length === 0 && !this.isWriting)) action();
    else this.onEmpty = action;
  }

  close(): void {
    this.isClosed = true;
    this.waiting.length = 0;
    this.onEmpty?.();
  }

  private schedule(delayMs: number): void {
    if (this.isWriting || (this.isScheduled && delayMs > 0)) return;
    this.isScheduled = true;
    this.parts.later(delayMs, () => {
      this.isScheduled = false;
      if (!this.isWriting) this.writeNext();
    });
  }

  private writeNext(): void {
    if (this.isClosed) return;
    const frame = this.waiting.shift();
    this.isWriting = frame !== undefined;
    if (frame === undefined) {
      this.onEmpty?.();
      return;
    }
    this.sequence += 1;
    this.write({ id: `${this.attempt}-${this.sequence}`, text: JSON.stringify(frame) });
  }

  private write(frame: SimulatedFrame): void {
    const { connection, redis, requestId, later, times } = this.parts;
    connection.send(
      () => redis.writeFrame(requestId, frame),
      (isTaken) => {
        if (this.isClosed) return;
        if (isTaken) {
          this.writeNext();
          return;
        }
        this.close();
        this.onFenced();
      },
      () => {
        if (!this.isClosed) later(times.retryMs, () => this.write(frame));
      },
    );
  }
}

/** `src/overflow/relay-reader.ts` in simulated time: every frame once, whatever was not told is read. */
export class SimulatedReader {
  private readonly parts: RelayParts;
  private readonly onBegun: () => void;
  private readonly listener: (event: GenerationEvent) => void;
  private readonly onEnd: () => void;
  private lastId: string | null = null;
  private unfinished: number;
  private isCatchingUp = false;
  private catchUpAgain = false;
  isEnded = false;

  constructor(
    parts: RelayParts,
    choices: number,
    on: { begun: () => void; event: (event: GenerationEvent) => void; end: () => void },
  ) {
    this.parts = parts;
    this.unfinished = choices;
    this.onBegun = on.begun;
    this.listener = on.event;
    this.onEnd = on.end;
  }

  receive(frame: SimulatedFrame): void {
    const { follows, comesAfter } = this.parts.rules;
    if (this.isEnded) return;
    const opensLater = this.lastId !== null && frame.id.endsWith('-0');
    if (!this.isCatchingUp && !opensLater && follows(frame.id, this.lastId)) this.take(frame);
    else if (this.isCatchingUp || comesAfter(frame.id, this.lastId)) this.catchUp(() => {});
  }

  /** @param done not called when the store did not answer, or somebody reads already */
  catchUp(done: () => void): void {
    this.catchUpAgain = true;
    if (this.isCatchingUp) return;
    this.isCatchingUp = true;
    this.readOn(done);
  }

  stop(): void {
    this.isEnded = true;
  }

  get attempt(): number {
    return this.lastId === null ? 0 : Number.parseInt(this.lastId, 10);
  }

  goOn(): void {
    this.isEnded = false;
  }

  private readOn(done: () => void): void {
    const { connection, redis, requestId, rules } = this.parts;
    if (!this.catchUpAgain || this.isEnded) {
      this.isCatchingUp = false;
      done();
      return;
    }
    this.catchUpAgain = false;
    const afterId = this.lastId;
    connection.send(
      () => redis.readFrames(requestId, afterId),
      (frames) => {
        for (const frame of frames) {
          if (!this.isEnded && rules.follows(frame.id, this.lastId)) this.take(frame);
        }
        this.readOn(done);
      },
      () => {
        this.isCatchingUp = false;
      },
    );
  }

  private take({ id, text }: SimulatedFrame): void {
    this.lastId = id;
    const event = eventOf(parseFrame(text), id);
    if (event === null) {
      this.onBegun();
      return;
    }
    this.listener(event);
    if (event.type !== 'finished') return;
    this.unfinished -= 1;
    if (this.unfinished > 0 && !event.failure) return;
    this.isEnded = true;
    this.onEnd();
  }
}

export function failedBecause(message: string): GenerationEvent {
  return { ...endingOf('error'), failure: { code: 'generation_failed', message } };
}
