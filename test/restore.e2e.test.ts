// A database that is restored while the others go on: the services and the command of docs/operations.md, end to end.

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, test } from '@jest/globals';
import { internalServiceUrls } from '@promopulse/shared/contracts/services';
import { withClient } from '@promopulse/shared/database/provision';
import { type RunningService, type ServiceDefinition, startService } from '@promopulse/shared/service';
import { childEnvironment } from '@promopulse/testing/child-environment';
import { type Client, client, type Wire } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { fullScale } from '@promopulse/testing/scale';
import {
  amqpUrl,
  createTestDatabase,
  deleteTopology,
  type TestDatabase,
  uniquePrefix,
} from '@promopulse/testing/servers';
import { testKeys } from '@promopulse/testing/service';
import { portAllocator } from '../local/ports.ts';
import { engagement } from '../services/engagement/src/service.ts';
import { promotions } from '../services/promotions/src/service.ts';
import { subscriptions } from '../services/subscriptions/src/service.ts';
import { users } from '../services/users/src/service.ts';

const definitions = { users, promotions, subscriptions, engagement };
type Name = keyof typeof definitions;
const names = Object.keys(definitions) as Name[];

let database: TestDatabase;
let prefix: string;
let ports: Record<Name, { port: number; internalPort: number }>;
const running = new Map<Name, RunningService>();

const urlOf = (name: Name) => `http://127.0.0.1:${ports[name].port}`;
const internalUrlOf = (name: string) => `http://127.0.0.1:${ports[name as Name]?.internalPort ?? 1}`;
const api = (name: Name): Client => client(urlOf(name));
const environment = (name: Name) => ({
  HOST: '127.0.0.1',
  PORT: String(ports[name].port),
  INTERNAL_PORT: String(ports[name].internalPort),
  LOG_LEVEL: 'silent',
  DATABASE_URL: database.urlFor(name),
  AMQP_URL: amqpUrl(),
  AMQP_PREFIX: prefix,
  PII_ENCRYPTION_KEYS: testKeys[0],
  PII_INDEX_KEY: testKeys[2],
  ...internalServiceUrls(internalUrlOf),
});

async function start(name: Name): Promise<void> {
  running.set(name, await startService(definitions[name] as ServiceDefinition, environment(name)));
}
async function stop(name: Name): Promise<void> {
  await running.get(name)?.close();
  running.delete(name);
}
const sql = (text: string): Promise<Wire[]> =>
  withClient(database.adminUrl, async (admin) => (await admin.query(text)).rows);

async function afterRestore(name: Name): Promise<string> {
  const command = promisify(execFile);
  const { stdout } = await command(process.execPath, ['packages/shared/src/commands/after-restore.ts', name], {
    env: { ...childEnvironment, ...environment(name) },
  });
  return stdout;
}

beforeEach(async () => {
  database = await createTestDatabase();
  prefix = uniquePrefix();
  const next = portAllocator();
  const pair = async () => ({ port: await next(), internalPort: await next() });
  ports = { users: await pair(), promotions: await pair(), subscriptions: await pair(), engagement: await pair() };
  for (const name of names) await start(name);
  await eventually(async () => {
    for (const name of ['subscriptions', 'engagement']) {
      const { projections } = (await client(internalUrlOf(name)).get('/health')).body;
      for (const owner of Object.values(projections) as Wire[]) expect(owner.reconciled).toBe(true);
    }
  });
}, 60_000);
afterEach(async () => {
  for (const name of [...running.keys()].reverse()) await stop(name);
  await database.drop();
  await deleteTopology(prefix);
}, 60_000);

let addresses = 0;
async function createUser(): Promise<number> {
  addresses += 1;
  const user = { first_name: 'Ada', last_name: 'L', email: `restore-${addresses}@example.com` };
  return (await api('users').post('/users', user)).body.id;
}
async function activePromotion(): Promise<number> {
  const promotion = { name: 'Sale', start_at: '2026-06-01T00:00:00Z', end_at: '2026-07-01T00:00:00Z' };
  const { id } = (await api('promotions').post('/promotions', promotion)).body;
  expect((await api('promotions').post(`/promotions/${id}/status`, { status: 'active' })).status).toBe(200);
  return id;
}
const subscribe = (user_id: number, promotion_id: number) =>
  api('subscriptions').post('/subscriptions', { user_id, promotion_id });

test('of the users: no id is given twice, and what points to lost users is reported', async () => {
  const promotion = await activePromotion();
  const kept = await createUser();
  const lost = await createUser();
  expect((await subscribe(lost, promotion)).status).toBe(201);

  await stop('users');
  await sql(`delete from users.users where id = ${lost}; delete from users.outbox where subject = '${lost}';
             select setval('users.users_id_seq', ${kept});
             select setval('users.outbox_id_seq', (select max(id) from users.outbox))`);
  expect(await afterRestore('users')).toMatch(/epoch/);
  await start('users');

  const next = await createUser();
  expect(next).toBeGreaterThan(lost);
  await eventually(async () => {
    const { projections } = (await client(internalUrlOf('subscriptions')).get('/health')).body;
    expect(projections.users).toMatchObject({ reconciled: true, lost: 1, subscriptions_of_lost: 1 });
  });
  expect((await api('subscriptions').get(`/subscriptions?user_id=${next}`)).body.total).toBe(0);
  expect((await subscribe(lost, await activePromotion())).status).toBe(404);
  expect((await subscribe(kept, promotion)).status).toBe(201);
}, 60_000);

test('of the promotions: versions go back, and an end takes effect within the lease and is never confirmed wrongly', async () => {
  const promotion = await activePromotion();
  for (let edit = 0; edit < 8; edit += 1)
    await api('promotions').patch(`/promotions/${promotion}`, { description: `Edit ${edit}` });
  await eventually(async () => {
    const [row] = await sql(`select version from subscriptions.cached_promotions where promotion_id = ${promotion}`);
    expect(row?.version).toBe(10);
  });

  await stop('promotions');
  await sql(`update promotions.promotions set version = 5 where id = ${promotion};
             delete from promotions.outbox where (data->>'version')::int > 5`);
  await afterRestore('promotions');
  await start('promotions');

  const ended = await api('promotions').post(`/promotions/${promotion}/status`, { status: 'ended' });
  expect(ended.status).toBe(200);
  if (ended.headers.get('promopulse-projection') !== 'applied') await new Promise((done) => setTimeout(done, 5_000));
  for (let attempt = 0; attempt < 10; attempt += 1) {
    expect((await subscribe(await createUser(), promotion)).status).toBe(422);
  }
  await eventually(async () => {
    for (const reader of ['subscriptions', 'engagement']) {
      const [row] = await sql(`select * from ${reader}.cached_promotions where promotion_id = ${promotion}`);
      expect(row).toMatchObject({ status: 'ended', version: 6 });
    }
  });
}, 60_000);

test('a comparison of many users writes nothing when nothing has changed, and corrects what is wrong', async () => {
  const count = fullScale ? 200_000 : 25_000;
  await stop('subscriptions');
  await sql(`insert into users.users (first_name, last_name, email_encrypted, email_index)
             select 'A', 'B', 'c', 'index ' || n from generate_series(1, ${count}) as n`);
  await start('subscriptions');
  const known = async () =>
    (await sql('select count(*)::int as rows, max(xmin::text::bigint) as newest from subscriptions.known_users'))[0];
  await eventually(async () => expect((await known()).rows).toBe(count), { timeoutMs: 60_000 });
  const reconciled = async () => {
    const { projections } = (await client(internalUrlOf('subscriptions')).get('/health')).body;
    expect(projections.users).toMatchObject({ reconciled: true });
    return projections.users;
  };
  await eventually(reconciled);
  const before = await known();

  await sql(`update subscriptions.projection_sources set compared_at = null where service = 'users'`);
  await eventually(async () => expect((await reconciled()).compared_seconds_ago).not.toBeNull());
  expect(await known()).toEqual(before);

  await sql(`delete from subscriptions.known_users where user_id = 17;
             update subscriptions.known_users set version = 99 where user_id = ${count - 5};
             update subscriptions.projection_sources set compared_at = null where service = 'users'`);
  await eventually(async () => expect((await reconciled()).corrected).toBe(2));
  const wrong = await sql(`select from users.users u full join subscriptions.known_users k on k.user_id = u.id
                           where k.version is distinct from u.version`);
  expect(wrong).toEqual([]);
}, 180_000);
