// Services while somebody else controls the database role of another service, and services whose own role can only read
// and change rows.

import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, expect, test } from '@jest/globals';
import { internalServiceUrls, type ServiceName, services } from '@promopulse/shared/contracts/services';
import { migrate } from '@promopulse/shared/database/migrations';
import { provision, unprovision, withClient } from '@promopulse/shared/database/provision';
import { type RunningService, type ServiceDefinition, startService } from '@promopulse/shared/service';
import { databaseOptionsOf } from '@promopulse/shared/service/schema-definition';
import { createLogger } from '@promopulse/shared/telemetry/logger';
import { childEnvironment } from '@promopulse/testing/child-environment';
import { type Client, client, type Wire } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { amqpUrl, deleteTopology, uniquePrefix } from '@promopulse/testing/servers';
import { testKeys } from '@promopulse/testing/service';
import pg from 'pg';
import { engagement } from '../services/engagement/src/service.ts';
import { promotions } from '../services/promotions/src/service.ts';
import { subscriptions } from '../services/subscriptions/src/service.ts';
import { users } from '../services/users/src/service.ts';

const cluster = String(process.env.TEST_DATABASE_URL);
const silent = createLogger({ service: 'test', level: 'silent' });
const prefix = uniquePrefix();
const cleanUp: (() => Promise<unknown>)[] = [];
let urls: Record<string, string>;
let adminUrl: string;

afterAll(() => deleteTopology(prefix));
afterEach(async () => {
  for (const end of cleanUp.splice(0).reverse()) await end();
});

async function start(definition: ServiceDefinition, env: Record<string, string> = {}): Promise<RunningService> {
  const service = await startService(definition, {
    HOST: '127.0.0.1',
    PORT: '0',
    LOG_LEVEL: 'silent',
    DATABASE_URL: String(urls[definition.name]),
    AMQP_URL: amqpUrl(),
    AMQP_PREFIX: prefix,
    PII_ENCRYPTION_KEYS: testKeys[0],
    PII_INDEX_KEY: testKeys[2],
    ...env,
  });
  cleanUp.push(() => service.close());
  return service;
}

const sql = (text: string) => withClient(adminUrl, async (admin) => (await admin.query(text)).rows);

let made = 0;
async function createUser(api: Client): Promise<number> {
  made += 1;
  const answer = await api.post('/users', { first_name: 'Ada', last_name: 'L', email: `ada.${made}@example.com` });
  expect(answer.status).toBe(201);
  return answer.body.id;
}

const expectAllPublished = (timeoutMs: number) =>
  eventually(
    async () =>
      expect(await sql('select id from users.outbox where published_at is null and parked_at is null')).toEqual([]),
    {
      timeoutMs,
    },
  );

/** Takes, as another role, the advisory locks by which earlier releases chose a leader, and others that suggest themselves. */
async function takeAdvisoryLocks(role: string, service: string): Promise<void> {
  const stranger = new pg.Client({ connectionString: String(urls[role]) });
  await stranger.connect();
  cleanUp.push(() => stranger.end());
  const names = ['relay', 'migrations', 'reconciliation.users', 'reconciliation.promotions', 'recount', 'leases'];
  for (const name of names) {
    await stranger.query('select pg_advisory_lock(hashtextextended($1, 0))', [`promopulse.${service}.${name}`]);
    await stranger.query('select pg_advisory_lock(hashtext($1))', [`promopulse.${service}.${name}`]);
  }
}

const internalUrlsOf = (stack: Readonly<Partial<Record<ServiceName, RunningService>>>): Record<string, string> =>
  internalServiceUrls((name) => stack[name]?.internalUrl ?? 'http://127.0.0.1:1');

async function startAll() {
  const owners = { users: await start(users), promotions: await start(promotions) };
  const own = { ...owners, subscriptions: await start(subscriptions, internalUrlsOf(owners)) };
  return { ...own, engagement: await start(engagement, internalUrlsOf(own)) };
}

/** @returns the answer of a subscribe right after user and promotion were made */
async function subscribe(stack: Awaited<ReturnType<typeof startAll>>): Promise<unknown> {
  const user_id = await createUser(client(stack.users.url));
  const api = client(stack.promotions.url);
  const promotion = { name: 'Sale', start_at: '2026-06-01T00:00:00Z', end_at: '2099-07-01T00:00:00Z' };
  const { id: promotion_id } = (await api.post('/promotions', promotion)).body;
  const { headers } = await api.post(`/promotions/${promotion_id}/status`, { status: 'active' });
  const { status } = await client(stack.subscriptions.url).post('/subscriptions', { user_id, promotion_id });
  return { projection: headers.get('promopulse-projection'), status };
}

async function useProvisioned(options: { migrators?: boolean }): Promise<Record<string, string>> {
  const common = { database: `test_${randomBytes(6).toString('hex')}`, services };
  const provisioned = await provision(cluster, { ...common, ...options });
  cleanUp.push(() => unprovision(cluster, common));
  ({ urls, adminUrl } = provisioned);
  return provisioned.migratorUrls;
}

const isReconciled = async ({ internalUrl }: RunningService): Promise<void> => {
  const { projections } = (await client(internalUrl).get('/health')).body;
  for (const owner of Object.values(projections) as Wire[]) expect(owner.reconciled).toBe(true);
};

test('events go out within 2 s, a leader is replaced and a replica starts while another role holds the locks of 0.1.0', async () => {
  await useProvisioned({});
  for (const service of ['users', 'promotions', 'subscriptions'])
    await takeAdvisoryLocks(service === 'promotions' ? 'users' : 'promotions', service);
  const stack = await startAll();
  await eventually(() => isReconciled(stack.subscriptions));
  await createUser(client(stack.users.url));
  await expectAllPublished(2_000);

  await sql('select pg_terminate_backend(backend_pid) from users.leases');
  await createUser(client(stack.users.url));
  await expectAllPublished(3_000);
  const replica = await start(users);
  expect((await client(replica.internalUrl).get('/health/ready')).status).toBe(200);
  expect(await subscribe(stack)).toEqual({ projection: 'applied', status: 201 });
}, 120_000);

test('a role that can only read and change rows serves, publishes, reconciles and begins an epoch after a restore', async () => {
  const migratorUrls = await useProvisioned({ migrators: true });
  for (const definition of [users, promotions, subscriptions, engagement]) {
    await migrate(databaseOptionsOf(definition, String(migratorUrls[definition.name])), silent);
  }
  const stack = await startAll();
  expect(await subscribe(stack)).toEqual({ projection: 'applied', status: 201 });
  await expectAllPublished(2_000);
  await eventually(() => isReconciled(stack.subscriptions));
  await eventually(() => isReconciled(stack.engagement));
  const [view] = await sql('select promotion_id, user_id from subscriptions.subscriptions');
  const event = { ...view, id: 'view-1', type: 'view', occurred_at: new Date().toISOString() };
  const { body } = await client(stack.engagement.url).post('/events', event);
  expect(body.receipts).toEqual([expect.objectContaining({ status: 'accepted' })]);
  await expect(withClient(String(urls.users), (role) => role.query('alter table users add more int'))).rejects.toThrow(
    'must be owner',
  );

  await stack.users.close();
  const command = [join(import.meta.dirname, '../packages/shared/src/commands/after-restore.ts'), 'users'];
  const env = {
    ...childEnvironment,
    DATABASE_URL: urls.users,
    ...internalUrlsOf(stack),
  };
  const { stdout } = await promisify(execFile)(process.execPath, command, { env });
  expect(stdout).toContain('users begins the epoch');
  const ports = { PORT: String(stack.users.port), INTERNAL_PORT: new URL(stack.users.internalUrl).port };
  const restarted = await start(users, ports);
  expect(await createUser(client(restarted.url))).toBeGreaterThan(100_000);
  expect(await subscribe({ ...stack, users: restarted })).toEqual({ projection: 'applied', status: 201 });
  const recounts = { promotions: 'recount_promotions()', subscriptions: 'recount_subscriptions()' };
  for (const [service, recount] of Object.entries(recounts)) {
    await withClient(String(urls[service]), (role) => role.query(`select ${recount}`));
  }
}, 120_000);
