// The steps of CONTRIBUTING, applied to a copy of the repository: they are complete, and they are few.
import { execFile, spawnSync } from 'node:child_process';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { services } from '@promopulse/shared/contracts/services';
import { withClient } from '@promopulse/shared/database/provision';
import { client } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { fullScale } from '@promopulse/testing/scale';
import { createTestDatabase, type TestDatabase } from '@promopulse/testing/servers';
import { linkWorkspaces } from '../local/linked-packages.ts';
import { freePort } from '../local/ports.ts';
import {
  brokenServiceShapes,
  brokenSharedShape,
  longFunctions,
  readTree,
  repeatedFileNames,
  strayedSql,
} from './support/architecture.ts';
import { applyEdits, copyCheckout, type Edit, readRecipe, readSection } from './support/recipe.ts';
import { spawnStart, temporaryDataDir } from './support/start-process.ts';

const root = resolve(import.meta.dirname, '..');
const bin = (name: string): string => join(root, 'node_modules/.bin', name);
/** Programs of the copy run with the project's own Node. */
const env = { ...process.env, PATH: `${join(root, 'node_modules/.bin')}:${process.env.PATH}` };

interface Outcome {
  code: number | null;
  output: string;
}

function run(folder: string, command: string, ...args: string[]): Outcome {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd: folder, env, encoding: 'utf8' });
  return { code: status, output: `${stdout}${stderr}` };
}

/** Jest on test files of the copy, on the servers of this test run. */
function jest(folder: string, ...paths: string[]): Outcome {
  const servers = { DATABASE_URL: process.env.TEST_DATABASE_URL, AMQP_URL: process.env.TEST_AMQP_URL };
  const { status, stdout, stderr } = spawnSync(
    process.execPath,
    ['--experimental-vm-modules', 'node_modules/jest/bin/jest.js', '--runInBand', ...paths],
    { cwd: folder, env: { ...env, ...servers, TEST_RABBITMQCTL: '' }, encoding: 'utf8' },
  );
  return { code: status, output: `${stdout}${stderr}` };
}

const createMigration = (folder: string, service: string, name: string) =>
  run(folder, process.execPath, 'scripts/migrate.ts', service, 'create', name);

const ok = { code: 0, output: expect.any(String) };
const typecheck = (folder: string) => run(folder, bin('tsc'), '--noEmit', '-p', 'tsconfig.json');
/** A part of `typecheck`, in half the time. */
function typecheckServices(folder: string): Outcome {
  const include = ['packages/shared/src', 'services/*/src', 'services/promotions/test'];
  writeFileSync(join(folder, 'tsconfig.services.json'), JSON.stringify({ extends: './tsconfig.base.json', include }));
  return run(folder, bin('tsc'), '--noEmit', '-p', 'tsconfig.services.json');
}
const lint = (folder: string, ...paths: string[]) =>
  run(folder, bin('biome'), 'check', '--error-on-warnings', '--vcs-enabled=false', ...paths);

/** Unused exports, files and dependencies. */
const deadCode = (folder: string) => run(folder, bin('knip'), '--no-progress');

test.each([
  ['Add a service', ['openapi', 'client', 'check']],
  ['Change the API', ['openapi', 'client', 'check:api']],
  ['Add a field', ['openapi', 'client', 'events', 'check']],
])('"%s" names the commands that generate, and those that check', (title, commands) => {
  const section = readSection(title);
  for (const command of commands) expect(section).toContain(`\`npm run ${command}\``);
});

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
    const { code, output } = createMigration(folder, 'notes', 'initial');
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

  test('no export, file or dependency is unused', () => {
    expect(deadCode(folder)).toEqual({ code: 0, output: '' });
  });

  test('breaks nothing but what the recipe says: the gateway requires its URL', () => {
    expect(run(folder, process.execPath, 'tools/releases/check.ts')).toEqual({
      code: 1,
      output: expect.stringMatching(/^environment: breaks users of [\d.]+: gateway: NOTES_URL has become required\n$/),
    });
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

describe('Add a field', () => {
  const recipe = readRecipe('Add a field');
  const checkEntities = (folder: string) => run(folder, process.execPath, 'scripts/check-entities.ts');

  async function inCopy(edits: readonly Edit[], work: (folder: string) => void | Promise<void>): Promise<void> {
    const folder = copyCheckout();
    try {
      applyEdits(folder, edits);
      await work(folder);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  test('takes at most 9 files', () => {
    const files = new Set(recipe.map(({ path }) => path));
    const generated = ['the migration', 'snapshot.json', 'docs/openapi.json'];
    expect(files.size + generated.length).toBeLessThanOrEqual(9);
  });

  test('is complete: the checks and the tests of the service pass', async () => {
    await inCopy(recipe, (folder) => {
      expect(createMigration(folder, 'promotions', 'terms')).toMatchObject({ code: 0 });
      expect(typecheck(folder)).toEqual(ok);
      expect(lint(folder, 'services/promotions', 'packages/shared/src/contracts')).toEqual(ok);
      expect(checkEntities(folder)).toEqual({ code: 0, output: '' });
      if (fullScale) expect(jest(folder, 'services/promotions/test/(api|rules)')).toEqual(ok);
    });
  }, 180_000);

  /** The step left out → the check that fails, and what it names. */
  const places: [path: string, check: (folder: string) => Outcome, names: string][] = [
    [
      'packages/shared/src/contracts/promotions.ts',
      (folder) => jest(folder, 'services/promotions/test/api'),
      '"terms"',
    ],
    ['services/promotions/src/entities.ts', typecheckServices, 'services/promotions/src/queries.ts'],
    ['services/promotions/src/rules.ts', typecheckServices, 'services/promotions/src/schemas.ts'],
    ['services/promotions/src/schemas.ts', typecheckServices, 'services/promotions/src/schemas.ts'],
    [
      'services/promotions/README.md',
      (folder) => jest(folder, 'services/promotions/test/rules'),
      'the README › lists what the rules let be edited',
    ],
    ['services/promotions/test/wire.ts', typecheckServices, 'services/promotions/test/wire.ts'],
  ];

  test('has a place for each file', () => {
    expect(places.map(([path]) => path)).toEqual([...new Set(recipe.map(({ path }) => path))]);
  });

  // Each takes a type check or a run of Jest: without TEST_SCALE=full, one.
  const tried = fullScale ? places : places.filter(([path]) => /entities/.test(path));
  test.each(tried)(
    'without the step for %s a check fails and names the place',
    async (path, check, names) => {
      const others = recipe.filter((edit) => edit.path !== path);
      await inCopy(others, (folder) => {
        createMigration(folder, 'promotions', 'terms');
        const { code, output } = check(folder);
        expect([code === 0, output]).toEqual([false, expect.stringContaining(names)]);
      });
    },
    180_000,
  );

  test('without its migration check:entities fails and says how to create it', async () => {
    await inCopy(recipe, (folder) => {
      expect(checkEntities(folder)).toEqual({
        code: 1,
        output: expect.stringMatching(/^promotions: .*npm run migration:create -w services\/promotions/),
      });
    });
  }, 60_000);
});

describe('Add an event', () => {
  const recipe = readRecipe('Add an event');
  let folder: string;
  let database: TestDatabase;
  beforeAll(async () => {
    database = await createTestDatabase();
    folder = copyCheckout();
    applyEdits(folder, recipe);
  });
  afterAll(async () => {
    rmSync(folder, { recursive: true, force: true });
    await database.drop();
  });

  test('types and lint have nothing to say', () => {
    expect(typecheck(folder)).toEqual(ok);
    expect(
      lint(
        folder,
        'services/promotions/src',
        'services/subscriptions/src',
        'services/engagement/src',
        'packages/shared/src',
      ),
    ).toEqual(ok);
  }, 60_000);

  test('the event is recorded, published and applied', async () => {
    const dataDir = temporaryDataDir();
    const started = spawnStart(dataDir, await freePort(), { DATABASE_URL: database.adminUrl }, folder);
    try {
      const api = client(started.url);
      const promotion = await eventually(
        async () => {
          const { status, body } = await api.post('/promotions', {
            name: 'Old',
            start_at: '2026-06-01T00:00:00Z',
            end_at: '2026-06-30T00:00:00Z',
          });
          expect(status).toBe(201);
          return body;
        },
        { timeoutMs: 60_000, everyMs: 200 },
      );
      expect((await api.patch(`/promotions/${promotion.id}`, { name: 'New' })).status).toBe(200);
      await eventually(() =>
        withClient(database.adminUrl, async (admin) => {
          const { rows } = await admin.query(
            `select name from promotions.outbox where subject = $1 and published_at is not null order by id`,
            [String(promotion.id)],
          );
          expect(rows.map(({ name }) => name)).toEqual(['promotion.created', 'promotion.updated', 'promotion.renamed']);
        }),
      );
      // In-process messages are marked as published once they are applied or dead-lettered.
      expect(existsSync(join(dataDir, 'dead-letters'))).toBe(false);
    } finally {
      started.signal('SIGTERM');
      expect(await started.exited).toBe(0);
      rmSync(dataDir, { recursive: true, force: true });
    }
  }, 90_000);

  const steps: [what: string, path: string, named: string][] = [
    ['its contract', 'packages/shared/src/contracts/index.ts', 'services/promotions/src/promotions.ts'],
    [
      'its consumer',
      'services/subscriptions/src/active-check/projections.ts',
      'services/subscriptions/src/active-check/projections.ts',
    ],
    ['its other consumer', 'services/engagement/src/entities.ts', 'services/engagement/src/entities.ts'],
  ];
  test.each(fullScale ? steps : steps.slice(0, 1))(
    'without %s the type check names the place',
    (_what, path, named) => {
      const incomplete = copyCheckout();
      try {
        applyEdits(
          incomplete,
          recipe.filter((edit) => edit.path !== path),
        );
        const { code, output } = typecheckServices(incomplete);
        expect([code === 0, output]).toEqual([false, expect.stringContaining(named)]);
      } finally {
        rmSync(incomplete, { recursive: true, force: true });
      }
    },
    60_000,
  );
});
