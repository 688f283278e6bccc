// docs/invariants.md names tests by file and title: they must be there.
import { readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';

const read = (path: string): string => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');
const named = [...read('docs/invariants.md').matchAll(/`([\w/.-]+\.test\.ts)`(?:: ((?:"(?:[^"\\]|\\.)*"(?:, )?)+))?/g)]
  .filter(([, file]) => file !== 'test/invariants.test.ts')
  .map(([, file = '', titles = '']) => ({ file, titles: JSON.parse(`[${titles}]`) as string[] }));

test('the page names tests for all eight promises', () => {
  expect(named.length).toBeGreaterThan(15);
});

test.each(named)('$file has the tests that the page names', ({ file, titles }) => {
  const source = read(file);
  for (const title of titles) expect([title, source.includes(title)]).toEqual([title, true]);
});
