// The steps of CONTRIBUTING, applied to a copy of the repository: they are complete, and they are few.
import { execFile, spawnSync } from 'node:child_process';
import { rmSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { services } from '@promopulse/shared/contracts/services';
import { client } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { createTestDatabase, type TestDatabase } from '@promopulse/testing/servers';
import { freePort } from '../local/ports.ts';
import {
  brokenServiceShapes,
  brokenSharedShape,
  longFunctions,
  readTree,
  repeatedFileNames,
  strayedSql,
} from './support/architecture.ts';
import { applyEdits, copyCheckout, linkWorkspaces, readRecipe } from './support/recipe.ts';
import { spawnStart, temporaryDataDir } from './support/start-process.ts';

const root = resolve(import.meta.dirname, '..');
const bin = (name: string): string => join(root, 'node_modules/.bin', name);
/** Programs of the copy run with the project's own Node. */
const env = { ...process.env, PATH: `${join(root, 'node_modules/.bin')}:${process.env.PATH}` };

function run(folder: string, command: string, ...args: string[]): { code: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: folder, env, encoding: 'utf8' });
  return { code: status, output: `${stdout}${stderr}` };
}

const ok = { code: 0, output: expect.any(String) };
const typecheck = (folder: string) => run(folder, bin('tsc'), '--noEmit', '-p', 'tsconfig.json');
const lint = (folder: string, ...paths: string[]) =>
  run(folder, bin('biome'), 'check', '--error-on-warnings', '--vcs-enabled=false', ...paths);

describe('Add a service', () => {
  const recipe = readRecipe('Add a service');
  let folder: string;
  let database: TestDatabase;
  beforeAll(async () => {
    folder = copyCheckout();
    applyEdits(folder, recipe);
    linkWorkspaces(folder);
    database = await createTestDatabase([...services, 'notes']);
  });
  afterAll(async () => {
    rmSync(folder, { recursive: true, force: true });
    await database.drop();
  });

  test('touches its folder and at most four lines or blocks elsewhere', () => {
    const elsewhere = recipe.filter(({ path, optional }) => !path.startsWith('services/notes/') && !optional);
    expect(elsewhere.length).toBeLessThanOrEqual(4);
  });

  test('its migration is written by the command', () => {
    const { code, output } = run(folder, process.execPath, 'scripts/migrate.ts', 'notes', 'create', 'initial');
    expect([code, output]).toEqual([0, expect.stringMatching(/^wrote Migration\d+_initial\.ts$/m)]);
  });

  test('types, lint, layout and entities have nothing to say', () => {
    expect(typecheck(folder)).toEqual(ok);
    expect(lint(folder, 'services/notes', 'services/gateway/src', 'packages/shared/src')).toEqual(ok);
    expect(run(folder, process.execPath, 'scripts/check-entities.ts')).toEqual({ code: 0, output: '' });
    const tree = readTree(folder);
    for (const rule of [brokenServiceShapes, brokenSharedShape, longFunctions, repeatedFileNames, strayedSql]) {
      expect(rule(tree)).toEqual([]);
    }
  });

  test('its image would run: everything that it loads is there', async () => {
    await promisify(execFile)(process.execPath, ['src/main.ts', '--check'], {
      cwd: join(folder, 'services/notes'),
      env,
    });
  });

  test('it starts with the others, and answers through the gateway', async () => {
    const dataDir = temporaryDataDir();
    const port = await freePort();
    const started = spawnStart(dataDir, port, { DATABASE_URL: database.adminUrl }, folder);
    try {
      const api = client(started.url);
      await eventually(
        async () => {
          const { status, body } = await api.get('/health');
          if (status !== 200) throw new Error(`not healthy: ${JSON.stringify(body)} ${started.output()}`);
          expect(body.services.notes.status).toBe('ok');
        },
        { timeoutMs: 60_000, everyMs: 200 },
      );
      expect(await api.get('/notes')).toMatchObject({ status: 200, body: { items: [] } });
      expect((await api.get('/openapi.json')).body.paths['/notes'].get.operationId).toBe('listNotes');
      expect((await api.get('/promotions')).status).toBe(200);
    } finally {
      started.signal('SIGTERM');
      expect(await started.exited).toBe(0);
      rmSync(dataDir, { recursive: true, force: true });
    }
  }, 90_000);
});
