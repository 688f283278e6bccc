// `npm run check:api [file]`: fails when docs/openapi.json, or another document, is not valid by a linter. What breaks
// clients of the last release: `npm run check:breaks`.
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { lintByRedocly, lintBySpectral, scoreByRedocly, validateVersions } from './linters.ts';

const file = resolve(process.argv[2] ?? join(import.meta.dirname, '../../docs/openapi.json'));
const text = readFileSync(file, 'utf8');

const findings = (
  await Promise.all([lintByRedocly(file), scoreByRedocly(file), lintBySpectral(text), validateVersions(text)])
).flat();
for (const finding of findings) process.stdout.write(`${finding}\n`);
if (findings.length === 0) process.stdout.write('No findings: redocly, Spectral, and two validators.\n');
process.exitCode = findings.length > 0 ? 1 : 0;
