import { expect, test } from 'vitest';
import { PrefixOrder } from '../../src/batch/prefix-order.js';

test('puts lines with a common beginning side by side and keeps the order of those that are alike', () => {
  const systems = ['a', 'b', 'c'].map((letter) => letter.repeat(300));
  const order = new PrefixOrder();
  for (let line = 0; line < 12; line += 1) {
    const system = { role: 'system', content: systems[line % 3] };
    order.add({ messages: [system, { role: 'user', content: `question ${line}` }] });
  }
  order.add({ prompt: 'short' });
  const lines = [...order.lines()];
  expect([...lines].sort((a, b) => a - b)).toEqual(Array.from({ length: 13 }, (_, line) => line));
  const groups = lines.filter((line) => line !== 12).map((line) => line % 3);
  const changes = groups.filter((group, index) => index > 0 && group !== groups[index - 1]).length;
  expect(changes).toBe(2);
  for (const group of [0, 1, 2]) {
    const members = lines.filter((line) => line !== 12 && line % 3 === group);
    expect(members).toEqual([...members].sort((a, b) => a - b));
  }
});
