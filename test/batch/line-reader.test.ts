import { rmSync } from 'node:fs';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { readLines } from '../../src/batch/line-reader.js';
import { scratchDirectory, writeScratch } from '../support/batch-files.js';
import { collect } from '../support/collect.js';

const directory = scratchDirectory();
afterAll(() => rmSync(directory, { recursive: true }));

const linesOf = (text: string, maxLineBytes: number) =>
  collect(readLines(writeScratch(directory, 'lines', text), maxLineBytes));

test('are what lies between line ends, wherever the chunks of the file end', async () => {
  // Chunks of a file have 64 KiB: lengths around that put line ends everywhere.
  const length = fc.oneof(fc.nat(20), fc.integer({ min: 65_500, max: 65_560 }));
  await fc.assert(
    fc.asyncProperty(fc.array(length, { maxLength: 6 }), fc.boolean(), async (lengths, endsWithNewline) => {
      const texts = lengths.map((characters, index) => String(index % 10).repeat(characters));
      const text = texts.join('\n') + (endsWithNewline ? '\n' : '');
      const lines = await linesOf(text, 1_000_000);
      const expected = texts
        .map((line, index) => ({ line, number: index + 1 }))
        .filter(({ line }) => line !== '');
      expect(lines.map(({ number }) => number)).toEqual(expected.map(({ number }) => number));
      lines.forEach(({ offset, bytes }, index) => {
        expect(bytes!.toString()).toBe(expected[index]!.line);
        expect(text.slice(offset, offset + bytes!.length)).toBe(expected[index]!.line);
      });
    }),
    { numRuns: 60 },
  );
});

test('that are too long keep their number and lose their content', async () => {
  const lines = await linesOf(`short\n${'x'.repeat(200_000)}\nshort again`, 100);
  expect(lines.map(({ number, offset, bytes }) => [number, offset, bytes?.toString() ?? null])).toEqual([
    [1, 0, 'short'],
    [2, 6, null],
    [3, 200_007, 'short again'],
  ]);
});
