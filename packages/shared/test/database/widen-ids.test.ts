// The columns of ids become bigint while the table is read and written: on the tables of subscriptions, which have the
// most indexes, and counts.
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { eventually } from '@promopulse/testing/eventually';
import { fullScale } from '@promopulse/testing/scale';
import { createTestDatabase, type TestDatabase } from '@promopulse/testing/servers';
import pg from 'pg';
import { sleep } from '../../src/backoff.ts';
import { type DatabaseOptions, openDatabase } from '../../src/database/database.ts';
import { migrate, revert } from '../../src/database/migrations.ts';
import { OutboxMessage } from '../../src/outbox/outbox.ts';
import { createLogger } from '../../src/telemetry/logger.ts';

const silent = createLogger({ service: 'test', level: 'silent' });
const rows = 200_000;
/** Of the projections: too many for a table that is altered at once. */
const smallerRows = 12_000;
const promotions = 50;

let database: TestDatabase;
let admin: pg.Client;
let options: DatabaseOptions;
beforeEach(async () => {
  database = await createTestDatabase(['subscriptions']);
  admin = new pg.Client({ connectionString: database.adminUrl });
  await admin.connect();
  await admin.query('set search_path = subscriptions');
  options = {
    url: database.urlFor('subscriptions'),
    schema: 'subscriptions',
    entities: [OutboxMessage],
    migrations: join(import.meta.dirname, '../../../../services/subscriptions/src/migrations'),
  };
  await migrate(options, silent);
  await revertToIntegers();
});
afterEach(async () => {
  await admin.end();
  await database.drop();
});

const sql = async (text: string) => (await admin.query(text)).rows;

async function revertToIntegers(): Promise<void> {
  for (;;) {
    const reverted = await revert(options, silent);
    if (!reverted || reverted.endsWith('_wide_ids')) return;
  }
}

async function fill(): Promise<void> {
  await sql(`insert into known_users (user_id, version) select n, 1 from generate_series(1, ${smallerRows}) as n`);
  await sql(`insert into cached_promotions (promotion_id, status, version)
    select n, 'active', 1 from generate_series(1, ${smallerRows}) as n`);
  await sql(`insert into subscriptions (user_id, promotion_id, is_active)
    select n, n % ${promotions} + 1, n % 3 > 0 from generate_series(1, ${rows}) as n`);
}

/** What the catalog says of the tables, by name: columns, indexes, constraints, sequences, triggers, functions. */
async function describeSchema(): Promise<unknown> {
  const columns = await sql(`select table_name, column_name, data_type, is_nullable, column_default
    from information_schema.columns where table_schema = 'subscriptions' order by 1, 2`);
  const indexes = await sql(`select indexname, indexdef from pg_indexes where schemaname = 'subscriptions' order by 1`);
  const constraints = await sql(`select conname, contype, pg_get_constraintdef(oid) as definition
    from pg_constraint where connamespace = 'subscriptions'::regnamespace order by 1`);
  const sequences = await sql(`select sequencename, data_type, max_value,
      pg_get_serial_sequence('subscriptions', 'id') as of_id
    from pg_sequences where schemaname = 'subscriptions' order by 1`);
  const triggers = await sql(`select tgname from pg_trigger where not tgisinternal order by 1`);
  const functions = await sql(`select proname, pg_get_function_arguments(oid) as arguments
    from pg_proc where pronamespace = 'subscriptions'::regnamespace order by 1, 2`);
  return { columns, indexes, constraints, sequences, triggers, functions };
}

/** Statements of requests, as the service sends them, on its own kinds of connections. Unnamed, so never a stale plan. */
class Load {
  readonly failures: unknown[] = [];
  slowestMs = 0;
  done = 0;
  created = 0;
  #stopped = false;
  #workers: Promise<void>[] = [];

  async start(): Promise<() => Promise<void>> {
    const connection = await openDatabase(options);
    let user = rows;
    const nextUser = (): number => {
      user += 1;
      return user;
    };
    const work: (() => [string, unknown[]])[] = [
      () => [
        'select id, user_id, promotion_id from subscriptions where id = $1',
        [1 + Math.floor(Math.random() * rows)],
      ],
      () => [
        'select id from subscriptions where user_id = $1 order by created_at desc, id desc limit 5',
        [user % rows],
      ],
      () => ['select sum(total) as total from subscription_counts where promotion_id = $1', [7]],
      () => [
        `with u as (insert into known_users (user_id, version) values ($1, 1) on conflict (user_id) do nothing)
         insert into subscriptions (user_id, promotion_id) values ($1, $2)
         on conflict (user_id, promotion_id) do nothing returning id`,
        [nextUser(), 1 + (user % promotions)],
      ],
      () => [
        'update subscriptions set is_active = not is_active where id = $1',
        [1 + Math.floor(Math.random() * rows)],
      ],
    ];
    this.#workers = work.map((next) =>
      (async () => {
        while (!this.#stopped) {
          const [text, values] = next();
          const startedAt = performance.now();
          try {
            const found = await connection.run<object>({ text }, values);
            if (text.includes('returning id')) this.created += found.length;
          } catch (error) {
            this.failures.push(error);
          }
          this.slowestMs = Math.max(this.slowestMs, performance.now() - startedAt);
          this.done += 1;
          await sleep(5);
        }
      })(),
    );
    return async () => {
      this.#stopped = true;
      await Promise.all(this.#workers);
      await connection.close();
    };
  }
}

describe('the ids of large tables', () => {
  test('become bigint while requests go on: none fails or waits a second, no row is lost, and counts are right', async () => {
    await fill();
    const load = new Load();
    const stop = await load.start();
    await migrate(options, silent);
    const doneBefore = load.done;
    await eventually(() => expect(load.done).toBeGreaterThan(doneBefore + 500)); // after the exchange as well
    await stop();
    expect(load.failures).toEqual([]);
    // Nobody waits a second for a lock. Beside other suites everything takes longer.
    expect(load.slowestMs).toBeLessThan(fullScale ? 2_000 : 6_000);
    expect(load.created).toBeGreaterThan(100);
    const [state] = await sql(`select count(*)::int as rows, count(distinct (user_id, promotion_id))::int as pairs,
        (select sum(total)::int from subscription_counts) as total, (select sum(active)::int from subscription_counts) as active,
        count(*) filter (where is_active)::int as really_active, (select count(*)::int from known_users) as users
      from subscriptions`);
    const expected = rows + load.created;
    expect(state).toMatchObject({
      rows: expected,
      pairs: expected,
      total: expected,
      users: smallerRows + load.created,
    });
    expect(state.active).toBe(state.really_active);
    const migrated = await describeSchema();

    // The same as a small table, which is altered: no trace of the exchange is left.
    await sql('truncate subscriptions, known_users, cached_promotions, subscription_counts');
    await revertToIntegers();
    await migrate(options, silent);
    expect(await describeSchema()).toEqual(migrated);
  }, 300_000);
});
