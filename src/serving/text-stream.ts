import type { TextCodec } from '../engine/text-codec.js';
import { StopStringFilter } from './stop-string-filter.js';

const replacementCharacter = '\uFFFD';
/** No character has more bytes than this; what is still broken then is really broken. */
const maxPartialTokens = 8;
const precedingTokenCount = 4;

/** Turns one choice's tokens into text: holds back split characters and whatever may become a stop string. */
export class TextStream {
  private readonly codec: TextCodec;
  private readonly filter: StopStringFilter;
  private partial: number[] = [];
  private preceding: number[];

  /** @param prompt its last tokens decide whether the first word gets a space */
  constructor(codec: TextCodec, stopStrings: readonly string[], prompt: Uint32Array) {
    this.codec = codec;
    this.filter = new StopStringFilter(stopStrings);
    this.preceding = [...prompt.slice(-precedingTokenCount)];
  }

  /** True once a stop string has appeared; no text follows. */
  get stopped(): boolean {
    return this.filter.stopped;
  }

  /** @returns text that is now certain, possibly empty */
  push(token: number): string {
    this.partial.push(token);
    const text = this.codec.decode(this.partial, this.preceding);
    if (text.endsWith(replacementCharacter) && this.partial.length < maxPartialTokens) return '';
    this.preceding = [...this.preceding, ...this.partial].slice(-precedingTokenCount);
    this.partial = [];
    return this.filter.push(text);
  }

  /** The generation is over: everything held back comes out. */
  end(): string {
    const rest = this.partial.length > 0 ? this.codec.decode(this.partial, this.preceding) : '';
    this.partial = [];
    return this.filter.push(rest) + this.filter.end();
  }
}
