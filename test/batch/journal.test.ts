import { appendFileSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { Claim } from '../../src/batch/claim.js';
import { Journal, type JournalEntry } from '../../src/batch/journal.js';
import { scratchDirectory } from '../support/batch-files.js';
import { collect } from '../support/collect.js';

const directories: string[] = [];
afterAll(() => {
  for (const directory of directories) rmSync(directory, { recursive: true });
});

function newDirectory(): string {
  directories.push(scratchDirectory());
  return directories.at(-1)!;
}

const entry = (line: number, text = `answer ${line}`, failed = false): JournalEntry => ({
  line,
  failed,
  tokens: [3, 1, 2],
  output: { text },
});

test('a line torn at any byte is no answer, and the answers before it stay', async () => {
  const directory = newDirectory();
  const journal = await Journal.open(directory, 1, 5);
  for (const line of [3, 0, 4]) await journal.append(entry(line, 'äöü\n'));
  await journal.close();
  const path = join(directory, 'journal-1.jsonl');
  const whole = readFileSync(path);
  const lastStart = whole.lastIndexOf(10, whole.length - 2) + 1;
  for (let claim = 2, length = whole.length - 2; length >= lastStart; length -= 1, claim += 1) {
    truncateSync(path, length);
    const again = await Journal.open(directory, claim, 5);
    expect([again.has(3), again.has(0), again.has(4), again.answered]).toEqual([true, true, false, 2]);
    await again.close();
  }
});

test('the first answer to a line counts, across claims, and outputs come in order of lines', async () => {
  const directory = newDirectory();
  const first = await Journal.open(directory, 1, 4);
  await Promise.all([
    first.append(entry(2, 'first')),
    first.append(entry(0)),
    first.append(entry(2, 'twice')),
  ]);
  await first.close();
  appendFileSync(join(directory, 'journal-1.jsonl'), '{"line":3,"fai');
  const second = await Journal.open(directory, 2, 4);
  expect(second.answered).toBe(2);
  await second.append(entry(2, 'later'));
  await second.append(entry(1, 'refused', true));
  const texts = async (journal: Journal, which: 'all' | 'failed' | 'completed') =>
    (await collect(journal.outputs(which))).map((line) => JSON.parse(line).text);
  expect(await texts(second, 'all')).toEqual(['answer 0', 'refused', 'first']);
  expect(await texts(second, 'failed')).toEqual(['refused']);
  await second.close();
  const third = await Journal.open(directory, 3, 4);
  expect(await texts(third, 'completed')).toEqual(['answer 0', 'first']);
  expect([third.completed, third.failed, third.promptTokens]).toEqual([2, 1, 9]);
  await third.close();
});

test('answers that come during a write are written together, each found again', async () => {
  const directory = newDirectory();
  const journal = await Journal.open(directory, 1, 4);
  const underWay = journal.append(entry(3));
  await Promise.resolve();
  const [next, joined] = [journal.append(entry(1, 'äöü')), journal.append(entry(0))];
  expect(next).not.toBe(underWay);
  expect(joined).toBe(next);
  await joined;
  const texts = async (each: Journal) =>
    (await collect(each.outputs('all'))).map((line) => JSON.parse(line).text);
  expect(await texts(journal)).toEqual(['answer 0', 'äöü', 'answer 3']);
  await journal.close();
  const again = await Journal.open(directory, 2, 4);
  expect(await texts(again)).toEqual(['answer 0', 'äöü', 'answer 3']);
  await again.close();
});

test('one claim at a time, and every claim has a number of its own', async () => {
  const directory = newDirectory();
  const claims = await Promise.all(Array.from({ length: 8 }, () => Claim.take(directory)));
  const [winner, ...others] = claims.filter((claim) => claim !== null);
  expect(others).toEqual([]);
  expect(await Claim.take(directory)).toBeNull();
  await (await Journal.open(directory, winner!.number, 1)).close();
  await winner!.release();
  const next = await Claim.take(directory);
  expect(next!.number).toBe(winner!.number + 1);
  expect(await winner!.holds()).toBe(false);
  await next!.release();
});
