/** Passes text through until a stop string appears, however it is cut into pieces. */
export class StopStringFilter {
  stopped = false;
  private readonly stopStrings: readonly string[];
  private held = '';

  constructor(stopStrings: readonly string[]) {
    this.stopStrings = stopStrings;
  }

  /** @returns text that cannot be part of a stop string any more */
  push(text: string): string {
    if (this.stopped) return '';
    if (this.stopStrings.length === 0) return text;
    const all = this.held + text;
    const stopAt = this.firstStop(all);
    if (stopAt !== -1) {
      this.stopped = true;
      this.held = '';
      return all.slice(0, stopAt);
    }
    const heldLength = this.longestBeginning(all);
    this.held = all.slice(all.length - heldLength);
    return all.slice(0, all.length - heldLength);
  }

  end(): string {
    const rest = this.stopped ? '' : this.held;
    this.held = '';
    return rest;
  }

  private firstStop(text: string): number {
    const found = this.stopStrings.map((stop) => text.indexOf(stop)).filter((index) => index !== -1);
    return found.length === 0 ? -1 : Math.min(...found);
  }

  /** Length of the longest end of the text that is the beginning of a stop string. */
  private longestBeginning(text: string): number {
    let longest = 0;
    for (const stop of this.stopStrings) {
      for (let length = Math.min(stop.length - 1, text.length); length > longest; length -= 1) {
        if (text.endsWith(stop.slice(0, length))) longest = length;
      }
    }
    return longest;
  }
}
