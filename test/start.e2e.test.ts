// What the README promises about `npm start`.
import { existsSync, renameSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, describe, expect, test } from '@jest/globals';
import { services } from '@promopulse/shared/contracts/services';
import { client } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { amqpUrl, createTestDatabase, deleteTopology, uniquePrefix } from '@promopulse/testing/servers';
import { freePort } from '../local/ports.ts';
import { generateFernetKey } from '../services/users/src/personal-data/fernet.ts';
import { processesNaming, type StartProcess, spawnStart, temporaryDataDir } from './support/start-process.ts';

const dataDir = temporaryDataDir();
const running: StartProcess[] = [];
afterEach(async () => {
  for (const stack of running.splice(0)) {
    stack.signal('SIGTERM');
    await stack.exited;
  }
});
afterAll(() => rmSync(dataDir, { recursive: true, force: true }));

function start(port: number, env?: Record<string, string>): StartProcess {
  const stack = spawnStart(dataDir, port, env);
  running.push(stack);
  return stack;
}

async function startAndWait(env?: Record<string, string>): Promise<StartProcess> {
  const stack = start(await freePort(), env);
  const up = eventually(() => expect(stack.output()).toContain('PromoPulse is up'), { timeoutMs: 60_000 });
  await Promise.race([up, stack.exited.then(() => Promise.reject(new Error(`It ended:\n${stack.output()}`)))]);
  return stack;
}

const ada = { first_name: 'Ada', last_name: 'Lovelace', email: 'ada@example.com' };

describe('npm start', () => {
  test('starts all services, prints their addresses, and ends on SIGTERM without leaving a process behind', async () => {
    // A database that is not of this stack: nothing connects to it.
    const stack = await startAndWait({ DIRECT_DATABASE_URL: 'postgres://other:word@127.0.0.1:1/other' });
    const { status, body } = await client(stack.url).get('/health');
    expect({ status, health: body.status }).toEqual({ status: 200, health: 'ok' });
    for (const words of [`${stack.url}/docs`, 'PostgreSQL', 'Ctrl-C', dataDir]) expect(stack.output()).toContain(words);
    expect(processesNaming(dataDir)).not.toEqual([]);
    stack.signal('SIGTERM');
    expect(await stack.exited).toBe(0);
    expect(processesNaming(dataDir)).toEqual([]);
  }, 90_000);

  test('keeps the data, personal data too, through a kill -9 that leaves PostgreSQL running', async () => {
    const killed = await startAndWait();
    const created = await client(killed.url).post('/users', ada);
    expect(created.status).toBe(201);
    killed.signal('SIGKILL');
    await killed.exited;
    expect(processesNaming(dataDir)).not.toEqual([]);

    const stack = await startAndWait();
    expect(stack.output()).toContain('earlier run left behind');
    expect((await client(stack.url).get(`/users/${created.body.id}`)).body).toEqual(created.body);
    stack.signal('SIGINT');
    expect(await stack.exited).toBe(0);
    expect(processesNaming(dataDir)).toEqual([]);
  }, 150_000);

  test('keeps its keys with the data, and stops with one sentence when it is given other keys', async () => {
    const stack = await startAndWait();
    const eve = { ...ada, email: 'eve@example.com' };
    const created = await client(stack.url).post('/users', eve);
    stack.signal('SIGTERM');
    await stack.exited;
    expect(existsSync(join(dataDir, 'keys.json'))).toBe(false);

    for (const [name, value] of [
      ['PII_INDEX_KEY', generateFernetKey()],
      ['PII_ENCRYPTION_KEYS', generateFernetKey()],
    ] as const) {
      const refused = start(await freePort(), { [name]: value });
      expect(await refused.exited).toBe(1);
      const [last] = refused.output().trim().split('\n').slice(-1);
      expect(last).toMatch(new RegExp(`^PromoPulse cannot start\\. ${name} .* the former key.*rm -rf .data`));
      expect(refused.output()).not.toContain(value);
      expect(processesNaming(dataDir)).toEqual([]);
    }

    const again = await startAndWait();
    expect((await client(again.url).get(`/users/${created.body.id}`)).body).toEqual(created.body);
    expect((await client(again.url).post('/users', eve)).status).toBe(409);
  }, 150_000);

  test('takes the keys of a former release, which were beside the data', async () => {
    const stack = await startAndWait();
    const created = await client(stack.url).post('/users', { ...ada, email: 'former@example.com' });
    stack.signal('SIGTERM');
    await stack.exited;
    renameSync(join(dataDir, 'postgres/promopulse.keys.json'), join(dataDir, 'keys.json'));
    const again = await startAndWait();
    expect((await client(again.url).get(`/users/${created.body.id}`)).body).toEqual(created.body);
  }, 120_000);

  test('a signal sent twice at once, as npm does it, still stops everything in order', async () => {
    const stack = await startAndWait();
    stack.signal('SIGINT');
    stack.signal('SIGINT');
    expect(await stack.exited).toBe(0);
    expect(stack.output()).toContain('Stopped.');
  }, 90_000);

  test('a signal during the start stops it as well', async () => {
    const stack = start(await freePort());
    await eventually(() => expect(stack.output()).toContain('starting'), { timeoutMs: 30_000 });
    stack.signal('SIGTERM');
    expect(await stack.exited).toBe(0);
    expect(processesNaming(dataDir)).toEqual([]);
  }, 90_000);

  test('a second start on the same data prints one line that names the process that uses it', async () => {
    const first = await startAndWait();
    const second = start(await freePort());
    expect(await second.exited).toBe(1);
    expect(second.output().trim().split('\n')).toEqual([expect.stringContaining(`process ${first.pid}`)]);
  }, 90_000);

  test('a taken port is reported in one line, before anything is started', async () => {
    const port = await freePort();
    const holder: Server = await new Promise((resolve) => {
      const server = createServer().listen(port, '127.0.0.1', () => resolve(server));
    });
    try {
      const stack = start(port);
      expect(await stack.exited).toBe(1);
      expect(stack.output().trim().split('\n')).toEqual([expect.stringMatching(`Port ${port} is taken .* PORT=\\d+`)]);
    } finally {
      holder.close();
    }
  }, 30_000);

  test('ports that had to move are the same at the next start, also when the usual ones are free again', async () => {
    const addressesOf = (stack: StartProcess) =>
      Object.fromEntries(
        [...stack.output().matchAll(/^ {2}(\w+) +http:\/\/127\.0\.0\.1:(\d+)$/gm)].map(([, ...each]) => each),
      );
    // Another program on this machine may have the port already, which is as good.
    const holder = createServer()
      .on('error', () => undefined)
      .listen(8001, '127.0.0.1');
    const first = await startAndWait();
    const moved = addressesOf(first);
    first.signal('SIGTERM');
    await first.exited;
    await new Promise((resolve) => holder.close(resolve));
    expect(Object.keys(moved).sort()).toEqual([...services].sort());
    expect(moved.users).not.toBe('8001');
    const again = await startAndWait();
    expect(addressesOf(again).users).toBe(moved.users);
  }, 120_000);

  test('uses the PostgreSQL and the RabbitMQ that DATABASE_URL and AMQP_URL name', async () => {
    const database = await createTestDatabase();
    const prefix = uniquePrefix();
    const env = { DATABASE_URL: database.adminUrl, AMQP_URL: amqpUrl(), AMQP_PREFIX: prefix };
    const stack = await startAndWait(env);
    try {
      expect(stack.output()).toContain(new URL(amqpUrl()).host);
      expect(processesNaming(dataDir)).toEqual([]);
      const api = client(stack.url);
      const user = (await api.post('/users', ada)).body.id;
      const times = { start_at: '2026-06-01T00:00:00Z', end_at: '2026-06-30T00:00:00Z' };
      const promotion = (await api.post('/promotions', { name: 'Summer', ...times })).body.id;
      expect((await api.post(`/promotions/${promotion}/status`, { status: 'active' })).status).toBe(200);
      const subscribed = await api.post('/subscriptions', { user_id: user, promotion_id: promotion });
      expect(subscribed.status).toBe(201);
    } finally {
      stack.signal('SIGTERM');
      await stack.exited;
      await database.drop();
      await deleteTopology(prefix);
    }
  }, 90_000);

  test('a DATABASE_URL without a server is reported in one line, and leaves nothing running', async () => {
    const unusedPort = await freePort();
    const stack = start(await freePort(), { DATABASE_URL: `postgres://me:secret@127.0.0.1:${unusedPort}/postgres` });
    expect(await stack.exited).toBe(1);
    expect(stack.output()).toMatch(
      new RegExp(
        `cannot start\\. The database of DATABASE_URL .* \\(ECONNREFUSED 127\\.0\\.0\\.1:${unusedPort}\\)\\.?\\n$`,
      ),
    );
    expect(stack.output()).not.toContain('secret');
    expect(processesNaming(dataDir)).toEqual([]);
  }, 30_000);
});
