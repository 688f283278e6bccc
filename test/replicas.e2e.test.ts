// Two replicas of every service on one database and one broker, started at the same time on an empty schema.
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { type RunningService, type ServiceDefinition, startService } from '@promopulse/shared/service';
import { type Client, client } from '@promopulse/testing/client';
import {
  amqpUrl,
  createTestDatabase,
  deleteTopology,
  type TestDatabase,
  uniquePrefix,
} from '@promopulse/testing/servers';
import { testKeys } from '@promopulse/testing/service';
import { startTcpProxy, type TcpProxy } from '@promopulse/testing/tcp-proxy';
import { promotions } from '../services/promotions/src/service.ts';
import { subscriptions } from '../services/subscriptions/src/service.ts';
import { users } from '../services/users/src/service.ts';

const prefix = uniquePrefix();
const leaseMs = 2_000;
let database: TestDatabase;
let databaseProxy: TcpProxy;
let pairs: Record<'users' | 'promotions' | 'subscriptions', RunningService[]>;

async function startReplica(definition: ServiceDefinition, env: Record<string, string> = {}): Promise<RunningService> {
  const common = {
    HOST: '127.0.0.1',
    PORT: '0',
    LOG_LEVEL: 'silent',
    DATABASE_URL: database.urlFor(definition.name),
    AMQP_URL: amqpUrl(),
    AMQP_PREFIX: prefix,
    PII_ENCRYPTION_KEYS: testKeys[0],
    PII_INDEX_KEY: testKeys[2],
  };
  return await startService(definition, { ...common, ...env });
}

function startPair(definition: ServiceDefinition): Promise<RunningService[]> {
  return Promise.all([startReplica(definition), startReplica(definition)]);
}

beforeAll(async () => {
  database = await createTestDatabase();
  const [userPair, promotionPair] = await Promise.all([startPair(users), startPair(promotions)]);
  const owners = {
    USERS_INTERNAL_URL: String(userPair[0]?.internalUrl),
    PROMOTIONS_INTERNAL_URL: String(promotionPair[1]?.internalUrl),
  };
  databaseProxy = await startTcpProxy(database.urlFor('subscriptions'));
  const env = { ...owners, FRESHNESS_LEASE_MS: String(leaseMs) };
  const throughProxy = { ...env, DATABASE_URL: databaseProxy.through(database.urlFor('subscriptions')) };
  pairs = {
    users: userPair,
    promotions: promotionPair,
    subscriptions: await Promise.all([startReplica(subscriptions, throughProxy), startReplica(subscriptions, env)]),
  };
}, 60_000);
afterAll(async () => {
  for (const service of Object.values(pairs ?? {}).flat()) await service.close();
  await databaseProxy?.close();
  await database?.drop();
  await deleteTopology(prefix);
});

const api = (name: keyof typeof pairs, replica: number): Client =>
  client(pairs[name][replica % pairs[name].length]?.url as string);

async function activePromotion(replica: number): Promise<{ id: number; projection: string | null }> {
  const promotion = { name: 'Sale', start_at: '2026-06-01T00:00:00Z', end_at: '2026-07-01T00:00:00Z' };
  const { id } = (await api('promotions', replica).post('/promotions', promotion)).body;
  const answer = await api('promotions', replica).post(`/promotions/${id}/status`, { status: 'active' });
  return { id, projection: answer.headers.get('promopulse-projection') };
}

describe('two replicas', () => {
  test('migrate an empty schema once, and both serve', async () => {
    for (const name of ['users', 'promotions', 'subscriptions'] as const) {
      for (const { internalUrl } of pairs[name]) {
        expect((await client(internalUrl).get('/health/ready')).status).toBe(200);
      }
    }
  });

  test('let a caller read its own writes, no matter which replica answers and which one leads the relay', async () => {
    const email = 'replica@example.com';
    const { id: user } = (await api('users', 0).post('/users', { first_name: 'A', last_name: 'B', email })).body;
    for (let round = 0; round < 8; round += 1) {
      const { id, projection } = await activePromotion(round);
      expect(projection).toBe('applied');
      const subscribed = await api('subscriptions', round >> 1).post('/subscriptions', {
        user_id: user,
        promotion_id: id,
      });
      expect(subscribed.status).toBe(201);
    }
  });

  test('keep publishing after one has stopped: the other becomes the leader', async () => {
    await pairs.promotions.shift()?.close();
    // subscriptions asks the replica that still runs.
    for (let round = 0; round < 3; round += 1) {
      const { id } = await activePromotion(0);
      await api('subscriptions', round).post('/subscriptions', { user_id: 1, promotion_id: id });
    }
    expect((await activePromotion(0)).projection).toBe('applied');
  });

  test('accept one of 40 identical subscribe requests sent to both', async () => {
    const { id } = await activePromotion(0);
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_, index) =>
        api('subscriptions', index).post('/subscriptions', { user_id: 1, promotion_id: id }),
      ),
    );
    expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array(39).fill(409)]);
  });

  test('reject subscriptions to an ended promotion through one while the database connection of the other is silent', async () => {
    const { id: user } = (
      await api('users', 0).post('/users', { first_name: 'C', last_name: 'D', email: 'silent@example.com' })
    ).body;
    const promotions = await Promise.all(Array.from({ length: 8 }, () => activePromotion(0)));
    databaseProxy.stall();
    await Promise.all(
      promotions.map(({ id }) => api('promotions', 0).post(`/promotions/${id}/status`, { status: 'ended' })),
    );
    await sleep(leaseMs);
    for (const { id } of promotions) {
      const answer = await api('subscriptions', 1).post('/subscriptions', { user_id: user, promotion_id: id });
      expect([id, answer.status]).toEqual([id, 422]);
    }
    databaseProxy.resume();
    databaseProxy.cut();
  });
});
