// docs/errors.md lists the error codes that are in the sources, and no others.
import { globSync, readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';

const root = new URL('..', import.meta.url).pathname;
const read = (path: string): string => readFileSync(`${root}${path}`, 'utf8');
const sources = globSync(['packages/shared/src/**/*.ts', 'services/*/src/**/*.ts'], { cwd: root }).map(read).join('\n');

const listed = [...read('docs/errors.md').matchAll(/^\| (`[^|]+`) \|/gm)]
  .flatMap(([, cell = '']) => [...cell.matchAll(/`([a-z_]+)`/g)])
  .map(([, code]) => code as string);

/** Forms of a code in the sources: after a kind, as the first or last argument of an error function, or as a property. */
const inSources = [
  /new DomainError\(\s*'[a-z_]+',\s*'([a-z_]+)'/g,
  /(?:conflict|ruleViolation)\(\s*'([a-z_]+)'/g,
  /notFound\([^)]*, '([a-z_]+)'\)/g,
  /code(?: =|:) '([a-z_]+)'/g,
  /\[\d{3}, '([a-z_]+)'/g,
].flatMap((pattern) => [...sources.matchAll(pattern)].map(([, code]) => code as string));

test('every code in the sources is listed', () => {
  expect(inSources.length).toBeGreaterThan(15);
  expect([...new Set(inSources)].filter((code) => code !== 'custom' && !listed.includes(code))).toEqual([]); // 'custom' is a code of zod
});

test('every listed code is in the sources', () => {
  expect(listed.filter((code) => !sources.includes(`'${code}'`))).toEqual([]);
});
