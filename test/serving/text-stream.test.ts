import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SimulatedCodec } from '../../src/engine/simulated/simulated-codec.js';
import { StopStringFilter } from '../../src/serving/stop-string-filter.js';
import { TextStream } from '../../src/serving/text-stream.js';

const codec = new SimulatedCodec();
const noPrompt = new Uint32Array(0);

function pieces(text: string, stopStrings: string[] = []): string[] {
  const stream = new TextStream(codec, stopStrings, noPrompt);
  const out = [...codec.encode(text)].map((token) => stream.push(token));
  return [...out, stream.end()];
}

describe('TextStream', () => {
  it('holds back the bytes of a split character', () => {
    expect(pieces('aé😀b')).toEqual(['a', '', 'é', '', '', '', '😀', 'b', '']);
  });

  it('gives up on bytes that never become a character', () => {
    const stream = new TextStream(codec, [], noPrompt);
    const out = Array.from({ length: 8 }, () => stream.push(0xff)).join('');
    expect(out).toBe('\uFFFD'.repeat(8));
  });

  it('loses nothing of any text', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 60 }), (text) => {
        expect(pieces(text).join('')).toBe(text);
      }),
    );
  });

  it('ends before a stop string that arrives in pieces', () => {
    expect(pieces('one STOP two', ['STOP']).join('')).toBe('one ');
  });

  it('gives out what only looked like a stop string', () => {
    expect(pieces('one STO two', ['STOP']).join('')).toBe('one STO two');
    expect(pieces('one STO', ['STOP']).join('')).toBe('one STO');
  });
});

describe('StopStringFilter', () => {
  it('agrees with a search over the whole text, however the text is cut', () => {
    const ab = fc.string({ unit: fc.constantFrom('a', 'b'), minLength: 1, maxLength: 4 });
    const inputs = fc.tuple(
      fc.array(fc.string({ unit: fc.constantFrom('a', 'b'), maxLength: 5 }), { maxLength: 12 }),
      fc.array(ab, { minLength: 1, maxLength: 4 }),
    );
    fc.assert(
      fc.property(inputs, ([chunks, stops]) => {
        const filter = new StopStringFilter(stops);
        const out = chunks.map((chunk) => filter.push(chunk)).join('') + filter.end();
        const text = chunks.join('');
        const ends = stops
          .map((stop) => text.indexOf(stop) + stop.length)
          .filter((end, index) => text.includes(stops[index]!) && end > 0);
        expect(filter.stopped).toBe(ends.length > 0);
        if (ends.length === 0) expect(out).toBe(text);
        else {
          expect(text.startsWith(out)).toBe(true);
          expect(stops.some((stop) => text.startsWith(stop, out.length))).toBe(true);
          expect(stops.some((stop) => out.includes(stop))).toBe(false);
        }
      }),
      { numRuns: 500 },
    );
  });
});
