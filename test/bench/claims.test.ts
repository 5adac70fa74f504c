/** Each claim of the project's README links to the row that holds it, and says what the row says. */
import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');
const measurements = readFileSync(new URL('../../bench/README.md', import.meta.url), 'utf8');
const links = [...readme.matchAll(/\]\(bench\/README\.md#([^)]+)\)/g)].map(([, anchor]) => anchor as string);

it('there are claims', () => expect(links.length).toBeGreaterThan(3));

it.each(links)('#%s exists in bench/README.md', (anchor) => {
  expect(measurements).toContain(`<a id="${anchor}"></a>`);
});

/** The paragraph or list item that holds a link, up to the link. */
function claimOf(anchor: string): string {
  const before = readme.slice(0, readme.indexOf(`bench/README.md#${anchor})`));
  return before.slice(Math.max(before.lastIndexOf('\n- '), before.lastIndexOf('\n\n')));
}

it.each(links.filter((anchor) => /(^|-)(ratio|goal)-/.test(anchor)))(
  'the figure of #%s is that of its row',
  (anchor) => {
    const row = measurements.split('\n').find((line) => line.includes(`<a id="${anchor}"></a>`)) ?? '';
    const measured = Number.parseFloat(row.split('|')[3]!.replaceAll('*', ''));
    const figures = [...claimOf(anchor).matchAll(/\d+(?:\.\d+)?/g)].map(([text]) => text);
    const says = figures.some((text) => {
      const digits = text.split('.')[1]?.length ?? 0;
      return Number(text).toFixed(digits) === measured.toFixed(digits);
    });
    expect(says, `${anchor} is ${measured}, the README says ${figures.join(', ')}`).toBe(true);
  },
);
