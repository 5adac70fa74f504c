/**
 * Incremental parser of a text/event-stream body. Only `data` matters to an OpenAI stream; comments, event names
 * and ids are skipped. Lines may end in LF or CRLF; several data lines of one event are joined by LF (WHATWG HTML).
 */
export class SseParser {
  private pending = '';
  private data: string | undefined;

  /** Feeds text as it comes off the socket, cut anywhere; returns the data of the events completed by it. */
  push(text: string): string[] {
    const buffer = this.pending + text;
    const events: string[] = [];
    let start = 0;
    for (let end = buffer.indexOf('\n'); end !== -1; end = buffer.indexOf('\n', start)) {
      const lineEnd = end > start && buffer.charCodeAt(end - 1) === 13 ? end - 1 : end;
      this.takeLine(buffer.slice(start, lineEnd), events);
      start = end + 1;
    }
    this.pending = buffer.slice(start);
    return events;
  }

  /** True when the stream stopped in the middle of an event. */
  get isMidEvent(): boolean {
    return this.data !== undefined || this.pending.length > 0;
  }

  private takeLine(line: string, events: string[]): void {
    if (line === '') {
      if (this.data !== undefined) events.push(this.data);
      this.data = undefined;
    } else if (line.startsWith('data:')) {
      const value = line.slice(line.charCodeAt(5) === 32 ? 6 : 5);
      this.data = this.data === undefined ? value : `${this.data}\n${value}`;
    }
  }
}
