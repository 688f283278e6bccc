// docs/invariants.md and docs/reliability.md name tests and checks by file and title. These exist.
import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';

const read = (path: string): string => readFileSync(new URL(`../${path}`, import.meta.url), 'utf8');

function namesOn(page: string): { file: string; titles: string[] }[] {
  const mentions = read(page).matchAll(/`((?:[\w.-]+\/)+[\w.-]+\.ts)`(?:: ((?:"(?:[^"\\]|\\.)*"(?:, )?)+))?/g);
  return [...mentions].map(([, file = '', titles = '']) => ({ file, titles: JSON.parse(`[${titles}]`) as string[] }));
}

const pages: [page: string, minNames: number][] = [
  ['docs/invariants.md', 15],
  ['docs/reliability.md', 29],
];

describe.each(pages)('%s', (page, minNames) => {
  const named = namesOn(page);

  test('names enough tests', () => {
    expect(named.length).toBeGreaterThan(minNames);
  });

  test.each(named)('the titles it names are in $file', ({ file, titles }) => {
    const source = read(file);
    for (const title of titles) expect([title, source.includes(title)]).toEqual([title, true]);
  });
});

test('the reliability page has a row for each of the 56 failures', () => {
  const sections = read('docs/reliability.md').split(/^## /m);
  const table = String(sections.find((section) => section.startsWith('How it is tested')));
  const rows = [...table.matchAll(/^\| (\d+) \|/gm)].map(([, number]) => Number(number));
  expect(rows).toEqual(Array.from({ length: 56 }, (_, index) => index + 1));
});
