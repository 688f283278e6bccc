// npm run check:api finds what the linters find.
import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';

const root = join(import.meta.dirname, '../../..');

describe('npm run check:api', () => {
  const folder = mkdtempSync(join(tmpdir(), 'promopulse-api-'));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const check = (file?: string) =>
    new Promise<{ code: unknown; output: string }>((done) => {
      const args = [join(root, 'tools/api/check.ts'), ...(file ? [file] : [])];
      execFile(process.execPath, args, (error, stdout, stderr) =>
        done({ code: error?.code ?? 0, output: stdout + stderr }),
      );
    });

  test('finds nothing in docs/openapi.json', async () => {
    expect(await check()).toEqual({ code: 0, output: expect.stringMatching(/^No findings: .*\n$/) });
  }, 120_000);

  test('finds each planted fault', async () => {
    const copy = JSON.parse(readFileSync(join(root, 'docs/openapi.json'), 'utf8'));
    delete copy.info.license; // Redocly
    delete copy.paths['/promotions'].get.description; // Spectral
    copy.components.schemas.User.properties.id.nullable = 'perhaps'; // the validators
    const file = join(folder, 'openapi.json');
    writeFileSync(file, JSON.stringify(copy));
    const { code, output } = await check(file);
    expect(code).toBe(1);
    for (const found of ['redocly info-license', 'spectral operation-description', 'OpenAPI 3.0']) {
      expect(output).toContain(found);
    }
  }, 120_000);
});
