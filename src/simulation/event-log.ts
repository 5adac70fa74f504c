/** Everything that happened, as a hash, and as text when somebody is going to read it. */
export class EventLog {
  readonly lines: string[] = [];
  private readonly keepsLines: boolean;
  private low = 0x811c9dc5;
  private high = 0x1000193;

  constructor(keepsLines: boolean) {
    this.keepsLines = keepsLines;
  }

  /** @param shown what a reader gets to see, when that is more than the values */
  add(
    atMs: number,
    kind: string,
    values: readonly (number | string)[],
    shown: () => readonly (number | string)[] = () => values,
  ): void {
    this.mixNumber(atMs);
    this.mixText(kind);
    for (const value of values) {
      if (typeof value === 'number') this.mixNumber(value);
      else this.mixText(value);
    }
    if (this.keepsLines) this.lines.push(`${atMs.toFixed(1).padStart(9)} ms  ${kind} ${shown().join(' ')}`);
  }

  /** 16 hexadecimal digits; the same for the same events in the same order. */
  get hash(): string {
    const hex = (value: number) => (value >>> 0).toString(16).padStart(8, '0');
    return hex(this.high) + hex(this.low);
  }

  private mixNumber(value: number): void {
    const whole = Math.floor(value);
    this.mix(whole | 0);
    this.mix(((value - whole) * 0x7fffffff) | 0);
  }

  private mixText(text: string): void {
    for (let index = 0; index < text.length; index += 1) this.mix(text.charCodeAt(index));
  }

  private mix(value: number): void {
    this.low = Math.imul(this.low ^ value, 0x01000193);
    this.high = Math.imul(this.high ^ (this.low >>> 15), 0x85ebca6b) + value;
  }
}
