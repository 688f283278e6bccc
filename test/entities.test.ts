// Migrations and entities agree in every service and in the gateway. A forgotten migration, or one edited wrongly by hand, fails here.
import { existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { offlineUrl } from '@promopulse/shared/commands/migrate';
import { openDatabase } from '@promopulse/shared/database/database';
import { Lease } from '@promopulse/shared/database/lease';
import { areMigrationsComplete, migrate, revert } from '@promopulse/shared/database/migrations';
import type { Entities } from '@promopulse/shared/database/prepared';
import { databaseOptionsOf } from '@promopulse/shared/service/schema-definition';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import { createTestDatabase, type TestDatabase } from '@promopulse/testing/servers';
import { loadSchemas, loadServices } from '../local/services.ts';

const silent = createLogger({ service: 'test', level: 'silent' });
/** Each service has leases, and the gateway has none. */
const changed = (entities: Entities): Entities =>
  entities.includes(Lease) ? entities.filter((entity) => entity !== Lease) : [...entities, Lease];
const services = await loadServices();
const all = await loadSchemas();

test('every folder of services/ that defines a service is in the list of services, under its own name', () => {
  const folder = join(import.meta.dirname, '../services');
  const defined = readdirSync(folder).filter((name) => existsSync(join(folder, name, 'src/service.ts')));
  expect(services.map(({ name }) => name).sort()).toEqual(defined.sort());
});

describe.each(all.map((definition) => [definition.name, definition] as const))('%s', (_name, definition) => {
  const offline = databaseOptionsOf(definition, offlineUrl);
  let testDatabase: TestDatabase;
  beforeAll(async () => {
    testDatabase = await createTestDatabase([definition.name]);
  });
  afterAll(() => testDatabase.drop());

  test('its migrations create the tables that its entities describe, and reverting them leaves none', async () => {
    const options = databaseOptionsOf(definition, testDatabase.urlFor(definition.name));
    expect((await migrate(options, silent)).length).toBeGreaterThan(0);
    const database = await openDatabase(options);
    const em = database.em();
    const generator = em.getPlatform().getSchemaGenerator(em.getDriver(), em);
    // Partitioned tables and what belongs to them are in the migrations only.
    const difference = await generator.getUpdateSchemaSQL({ wrap: false });
    expect(difference.replaceAll(/drop table .*(mikro_orm_migrations|"events"|"first_seen").*;/g, '').trim()).toBe('');
    // A number in JSON holds the ids that callers see, and a restore raises them (database/ids/id-sequences.ts).
    const unbounded = `select sequencename as name from pg_sequences where schemaname = current_schema()
      and max_value > ${Number.MAX_SAFE_INTEGER} and sequencename !~ '^(outbox|.*_counts|.*_changes)_id_seq$'`;
    expect(await database.run({ text: unbounded }, [])).toEqual([]);
    while ((await revert(options, silent)) !== undefined);
    const left = await database.run(
      {
        text: `select table_name as name from information_schema.tables where table_schema = current_schema()
               union all select routine_name from information_schema.routines where routine_schema = current_schema()`,
      },
      [],
    );
    await database.close();
    expect(left).toEqual([{ name: 'mikro_orm_migrations' }]);
  });

  test('the snapshot of its migrations matches its entities', async () => {
    expect(await areMigrationsComplete(offline)).toBe(true);
  });

  test('a changed entity or a missing snapshot is detected', async () => {
    expect(await areMigrationsComplete({ ...offline, entities: changed(definition.entities) })).toBe(false);
    const empty = mkdtempSync(join(tmpdir(), 'migrations-'));
    expect(await areMigrationsComplete({ ...offline, migrations: empty })).toBe(false);
    rmSync(empty, { recursive: true });
  });
});
