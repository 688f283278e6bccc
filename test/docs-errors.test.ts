// docs/errors.md lists the error codes that are in the sources, and no others.
import { globSync, readFileSync } from 'node:fs';
import { expect, test } from '@jest/globals';
import { problemCodes } from '@promopulse/shared/http/openapi/problem-schema';

const root = new URL('..', import.meta.url).pathname;
const read = (path: string): string => readFileSync(`${root}${path}`, 'utf8');
const sources = globSync(['packages/shared/src/**/*.ts', 'services/*/src/**/*.ts'], { cwd: root }).map(read).join('\n');

const listed = [...read('docs/errors.md').matchAll(/^\| (`[^|]+`) \|/gm)]
  .flatMap(([, cell = '']) => [...cell.matchAll(/`([a-z_]+)`/g)])
  .map(([, code]) => code as string);

/** Code → its statuses, from the first two columns of the table. A row of several codes has the statuses of all of them. */
const statusesInDocs = new Map(
  [...read('docs/errors.md').matchAll(/^\| (`[^|]+`) \| ([\d, ]+) \|/gm)].flatMap(([, codes = '', statuses = '']) =>
    [...codes.matchAll(/`([a-z_]+)`/g)].map(([, code]) => [code as string, statuses.split(', ').map(Number)] as const),
  ),
);

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

test('the enum of the OpenAPI document has every listed code, and no other', () => {
  expect(Object.keys(problemCodes).sort()).toEqual([...new Set(listed)].sort());
});

test('a code of the OpenAPI document has a status that its row lists', () => {
  for (const [code, statuses] of Object.entries(problemCodes)) {
    const inDocs = statusesInDocs.get(code);
    expect([code, inDocs]).toEqual([code, expect.arrayContaining([...statuses])]);
  }
});

test('the OpenAPI document has an example of every code, and each has a status of the code', () => {
  const examples: { code: string; status: number }[] = [];
  JSON.parse(read('docs/openapi.json'), (_key, value) => {
    if (typeof value?.code === 'string' && typeof value.request_id === 'string') examples.push(value);
    return value;
  });
  const shown = new Set(examples.map(({ code }) => code));
  expect(Object.keys(problemCodes).filter((code) => !shown.has(code))).toEqual([]);
  for (const { code, status } of examples) {
    expect([code, problemCodes[code as keyof typeof problemCodes]]).toEqual([code, expect.arrayContaining([status])]);
  }
});
