// docs/errors.md lists every error code that the sources can answer, and no other.
import { globSync, readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';

const root = new URL('..', import.meta.url).pathname;
const read = (path: string): string => readFileSync(`${root}${path}`, 'utf8');
const sources = globSync(['packages/shared/src/**/*.ts', 'services/*/src/**/*.ts'], { cwd: root }).map(read).join('\n');

const listed = [...read('docs/errors.md').matchAll(/^\| (`[^|]+`) \|/gm)]
  .flatMap(([, cell = '']) => [...cell.matchAll(/`([a-z_]+)`/g)])
  .map(([, code]) => code as string);

/** Where a code stands in the sources: behind a kind, as the first or last argument of a maker, or as a member. */
const answered = [
  /new DomainError\(\s*'[a-z_]+',\s*'([a-z_]+)'/g,
  /(?:conflict|ruleViolation)\(\s*'([a-z_]+)'/g,
  /notFound\([^)]*, '([a-z_]+)'\)/g,
  /code(?: =|:) '([a-z_]+)'/g,
  /\[\d{3}, '([a-z_]+)'/g,
].flatMap((pattern) => [...sources.matchAll(pattern)].map(([, code]) => code as string));

test('every code that is answered is listed', () => {
  expect(answered.length).toBeGreaterThan(15);
  expect([...new Set(answered)].filter((code) => code !== 'custom' && !listed.includes(code))).toEqual([]); // zod's own
});

test('every code that is listed can be answered', () => {
  expect(listed.filter((code) => !sources.includes(`'${code}'`))).toEqual([]);
});
