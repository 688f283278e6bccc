// `npm run check:api [file]`: fails when docs/openapi.json, or another document, is not valid by a linter, or breaks clients
// of the last release in a way that docs/releases/breaks.json does not list.
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { listBreaks } from './compare.ts';
import { lintByRedocly, lintBySpectral, scoreByRedocly, validateVersions } from './linters.ts';

const docs = join(import.meta.dirname, '../../docs');
const file = resolve(process.argv[2] ?? join(docs, 'openapi.json'));
const text = readFileSync(file, 'utf8');

const findings = [
  ...(await Promise.all([lintByRedocly(file), scoreByRedocly(file), lintBySpectral(text), validateVersions(text)])),
  unlistedBreaks(),
].flat();
for (const finding of findings) process.stdout.write(`${finding}\n`);
if (findings.length === 0)
  process.stdout.write('No findings: redocly, Spectral, and the clients of the last release.\n');
process.exitCode = findings.length > 0 ? 1 : 0;

interface ListedBreak {
  break: string;
  reason: string;
}

function unlistedBreaks(): string[] {
  const release = lastRelease();
  const breaks = listBreaks(read(`openapi-${release}.json`), JSON.parse(text));
  const listed = (read('breaks.json') as ListedBreak[]).map((each) => each.break);
  return [
    ...breaks.filter((each) => !listed.includes(each)).map((each) => `breaks clients of ${release}: ${each}`),
    ...listed
      .filter((each) => !breaks.includes(each))
      .map((each) => `docs/releases/breaks.json lists what does not break clients of ${release}: ${each}`),
  ];
}

function lastRelease(): string {
  const versions = readdirSync(join(docs, 'releases')).flatMap((name) => /^openapi-(.+)\.json$/.exec(name)?.[1] ?? []);
  const numeric = new Intl.Collator('en', { numeric: true });
  return versions.sort(numeric.compare).at(-1) as string;
}

function read(name: string): unknown {
  return JSON.parse(readFileSync(join(docs, 'releases', name), 'utf8'));
}
