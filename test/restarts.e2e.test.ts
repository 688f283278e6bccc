// The only replica of a service is restarted under load: no request fails, and none takes effect twice.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { internalServiceUrls, serviceUrls } from '@promopulse/shared/contracts/services';
import { withClient } from '@promopulse/shared/database/provision';
import { type Client, client } from '@promopulse/testing/client';
import { fullScale } from '@promopulse/testing/scale';
import {
  amqpUrl,
  createTestDatabase,
  deleteTopology,
  type TestDatabase,
  uniquePrefix,
} from '@promopulse/testing/servers';
import { testKeys } from '@promopulse/testing/service';
import { freePort } from '../local/ports.ts';
import { type Exit, Replica } from '../local/replica.ts';
import { type RunningGateway, startGateway } from '../services/gateway/src/app.ts';

const clients = 20;
const restarts = fullScale ? 20 : 3;
const prefix = uniquePrefix();
const folder = mkdtempSync(join(tmpdir(), 'promopulse-restarts-'));
const exits: Exit[] = [];
/** Of the gateway. */
const warnings: string[] = [];
let database: TestDatabase;
let users: Replica;
let gateway: RunningGateway;
let api: Client;

beforeAll(async () => {
  database = await createTestDatabase();
  const port = await freePort();
  const internalPort = await freePort(undefined, [port]);
  users = new Replica({
    part: 'users',
    number: 1,
    port,
    internalPort,
    env: {
      HOST: '127.0.0.1',
      DATABASE_URL: database.urlFor('users'),
      AMQP_URL: amqpUrl(),
      AMQP_PREFIX: prefix,
      PII_ENCRYPTION_KEYS: testKeys[0],
      PII_INDEX_KEY: testKeys[2],
    },
    logFile: join(folder, 'users.log'),
    exits,
  });
  await users.start();
  const env = {
    HOST: '127.0.0.1',
    PORT: '0',
    LOG_LEVEL: 'warn',
    // On a busy machine a restart takes longer than the default of 5 s.
    UPSTREAM_TIMEOUT_MS: '60000',
    ...serviceUrls(() => `http://127.0.0.1:${port}`),
    ...internalServiceUrls(() => `http://127.0.0.1:${internalPort}`),
  };
  gateway = await startGateway(env, { logDestination: { write: (line) => void warnings.push(line) } });
  api = client(gateway.url);
}, 120_000);
afterAll(async () => {
  await gateway?.close();
  await users?.stop();
  await database?.drop();
  await deleteTopology(prefix);
  rmSync(folder, { recursive: true, force: true });
});

test(`${restarts} restarts of the only users replica under reads and writes: no 503, nothing twice`, async () => {
  const statuses: Record<string, number> = {};
  const count = (method: string, { status, body }: { status: number; body: { code?: string } }) => {
    const key = [method, status, body.code].filter(Boolean).join(' ');
    statuses[key] = (statuses[key] ?? 0) + 1;
  };
  const names: string[] = [];
  let done = false;
  const load = Array.from({ length: clients }, async (_, index) => {
    for (let round = 0; !done; round += 1) {
      const user = { first_name: `${index}-${round}`, last_name: 'Load', email: `load.${index}.${round}@example.com` };
      const created = await api.post('/users', user);
      count('POST', created);
      if (created.status === 201) names.push(user.first_name);
      count('GET', await api.get(`/users/${created.body.id ?? 1}`));
    }
  });
  for (let restart = 0; restart < restarts; restart += 1) {
    await sleep(700);
    await users.stop();
    await users.start();
  }
  await sleep(300);
  done = true;
  await Promise.all(load);

  expect(warnings.filter((line) => line.includes('upstream failed'))).toEqual([]);
  expect(Object.keys(statuses).sort()).toEqual(['GET 200', 'POST 201']);
  expect(statuses['POST 201']).toBeGreaterThan(restarts * clients);
  const { rows } = await withClient(database.adminUrl, (admin) =>
    admin.query<{ id: number }>('select id from users.users'),
  );
  expect(rows).toHaveLength(names.length);
  const { rows: events } = await withClient(database.adminUrl, (admin) =>
    admin.query<{ name: string }>(`select name from users.outbox where name = 'user.created'`),
  );
  expect(events).toHaveLength(names.length);
  expect(exits).toEqual([]);
}, 300_000);
