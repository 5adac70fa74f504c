/** One span of Chrome's trace event format; times in microseconds. Open the JSON in chrome://tracing or Perfetto. */
export interface TraceEvent {
  name: string;
  ph: 'X';
  ts: number;
  dur: number;
  pid: 1;
  /** 1: JavaScript; 2: native decode and sampling. */
  tid: 1 | 2;
  args?: Record<string, number>;
}

export type Lane = 'javascript' | 'native';

/** Collects spans of some ticks, on demand; costs one comparison per span while nobody asked. */
export class TickTrace {
  private events: TraceEvent[] = [];
  private ticksLeft = 0;
  private finish: ((events: TraceEvent[]) => void) | null = null;

  /** The spans of the next `ticks` ticks, or of those that happened within `limitMs`. One recording at a time. */
  record(ticks: number, limitMs: number): Promise<TraceEvent[]> {
    this.complete();
    this.events = [];
    this.ticksLeft = ticks;
    return new Promise((resolve) => {
      const timer = setTimeout(() => this.complete(), limitMs);
      this.finish = (events) => {
        clearTimeout(timer);
        resolve(events);
      };
    });
  }

  span(name: string, lane: Lane, startMs: number, endMs: number, args?: Record<string, number>): void {
    if (this.ticksLeft === 0) return;
    const event: TraceEvent = {
      name,
      ph: 'X',
      ts: Math.round(startMs * 1000),
      dur: Math.max(0, Math.round((endMs - startMs) * 1000)),
      pid: 1,
      tid: lane === 'javascript' ? 1 : 2,
    };
    if (args) event.args = args;
    this.events.push(event);
  }

  tickEnded(): void {
    if (this.ticksLeft === 0) return;
    this.ticksLeft -= 1;
    if (this.ticksLeft === 0) this.complete();
  }

  private complete(): void {
    this.ticksLeft = 0;
    this.finish?.(this.events);
    this.finish = null;
  }
}
