// The promise of a service's life, observed from outside: the users service runs as a process, as in production.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { childEnvironment } from '@promopulse/testing/child-environment';
import { type Client, client } from '@promopulse/testing/client';
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
import { startTcpProxy, type TcpProxy } from '@promopulse/testing/tcp-proxy';
import { parseEvent } from '../src/contracts/index.ts';
import { queues } from '../src/contracts/queues.ts';
import { withClient } from '../src/database/provision.ts';
import { connectRabbit } from '../src/messaging/rabbitmq/broker.ts';
import { brokerOptions } from '../src/service/service-broker.ts';
import { createLogger } from '../src/telemetry/logger.ts';

const main = join(import.meta.dirname, '../../../services/users/src/main.ts');
const ada = { first_name: 'Ada', last_name: 'Lovelace', email: 'ada@example.com' };

let database: TestDatabase;
let prefix: string;
let databaseProxy: TcpProxy;
let brokerProxy: TcpProxy;
const cleanUp: (() => unknown)[] = [];

beforeAll(async () => {
  database = await createTestDatabase(['users']);
});
afterAll(() => database.drop());
beforeEach(async () => {
  prefix = uniquePrefix();
  databaseProxy = await startTcpProxy(database.adminUrl);
  brokerProxy = await startTcpProxy(amqpUrl());
  cleanUp.push(
    () => deleteTopology(prefix),
    () => databaseProxy.close(),
    () => brokerProxy.close(),
  );
});
afterEach(async () => {
  for (const end of cleanUp.splice(0).reverse()) await end();
  await withClient(database.adminUrl, (admin) =>
    admin.query('truncate users.users, users.outbox').catch(() => undefined),
  );
});

const environment = (): Record<string, string> => ({
  HOST: '127.0.0.1',
  PORT: '0',
  DATABASE_URL: databaseProxy.through(database.urlFor('users')),
  AMQP_URL: brokerProxy.through(amqpUrl()),
  AMQP_PREFIX: prefix,
  PII_ENCRYPTION_KEYS: testKeys[0],
  PII_INDEX_KEY: testKeys[2],
});

interface ServiceProcess {
  child: ChildProcess;
  out(): string;
  err(): string;
  /** Resolves when it listens. */
  listening(timeoutMs?: number): Promise<Client & { port: number; probe: Client['get'] }>;
  /** Its exit code and signal. */
  ended: Promise<{ code: number | null; signal: string | null }>;
}

function run(env: Record<string, string | undefined>): ServiceProcess {
  const child = spawn(process.execPath, [main], { env: { ...childEnvironment, ...env } });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk) => {
    out += chunk;
  });
  child.stderr.on('data', (chunk) => {
    err += chunk;
  });
  const ended = once(child, 'close').then(([code, signal]) => ({ code, signal }));
  cleanUp.push(async () => {
    child.kill('SIGKILL');
    await ended;
  });
  return {
    child,
    out: () => out,
    err: () => err,
    ended,
    listening: (timeoutMs = 15_000) =>
      eventually(
        () => {
          const [, port, internalPort] = /"port":(\d+),"internal_port":(\d+)/.exec(out) ?? [];
          if (!port) throw new Error(`not listening: ${out}${err}`);
          const probe = client(`http://127.0.0.1:${internalPort}`).get;
          return { port: Number(port), probe, ...client(`http://127.0.0.1:${port}`) };
        },
        { timeoutMs },
      ),
  };
}

/** Sends a POST with the first half of its body. */
async function requestInFlight(port: number): Promise<{ socket: Socket; finish(): void; answer: Promise<string> }> {
  const body = JSON.stringify(ada);
  const socket = connect({ host: '127.0.0.1', port });
  let answer = '';
  socket.on('data', (chunk) => {
    answer += chunk;
  });
  socket.on('error', () => undefined);
  socket.write(
    `POST /users HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body.slice(0, 10)}`,
  );
  await sleep(300);
  cleanUp.push(() => socket.destroy());
  return { socket, finish: () => void socket.write(body.slice(10)), answer: once(socket, 'close').then(() => answer) };
}

/** Consumes the queue of subscriptions. @returns the routing keys and subjects received so far */
async function listen(): Promise<string[]> {
  const received: string[] = [];
  const broker = connectRabbit(
    { url: amqpUrl() },
    brokerOptions(prefix, createLogger({ service: 'test', level: 'silent' })),
  );
  cleanUp.push(() => broker.close(500));
  broker.consume({
    queue: 'subscriptions.projections',
    bindings: queues['subscriptions.projections'],
    handle: async ({ body }) => {
      const { name, envelope } = parseEvent(body);
      if (name !== 'relay.heartbeat') received.push(`${name} ${envelope.subject}`);
    },
  });
  await eventually(() => expect(broker.isConnected()).toBe(true));
  return received;
}

describe('asked to stop, a service', () => {
  test.each(['SIGTERM', 'SIGINT'] as const)(
    'by %s, finishes the request in flight, publishes its event, and exits with 0',
    async (signal) => {
      const received = await listen();
      const service = run(environment());
      const { port, probe, post } = await service.listening();
      expect(await post('/users', { ...ada, email: 'first@example.com' })).toMatchObject({ status: 201 });
      const late = await requestInFlight(port);
      const start = performance.now();
      service.child.kill(signal);
      await sleep(300);
      await expect(once(connect(port, '127.0.0.1'), 'connect')).rejects.toThrow(/ECONNREFUSED/);
      expect([(await probe('/health/ready')).status, (await probe('/health/live')).status]).toEqual([503, 200]);
      late.finish();
      const answer = await late.answer;
      expect(answer).toMatch(/^HTTP\/1\.1 201 /);
      expect(answer).toMatch(/\r\nconnection: close\r\n/i);
      expect(await service.ended).toEqual({ code: 0, signal: null });
      expect(performance.now() - start).toBeLessThan(5_000);
      expect(service.err()).toBe('');
      await eventually(() => expect(received).toHaveLength(2));
    },
  );

  test('is not ready at once, and accepts connections for SHUTDOWN_DELAY_MS', async () => {
    const service = run({ ...environment(), SHUTDOWN_DELAY_MS: '1500' });
    const { port, probe } = await service.listening();
    const fresh = async () => (await fetch(`http://127.0.0.1:${port}/users/0`, { keepalive: false })).status;
    expect((await probe('/health/ready')).status).toBe(200);
    const start = performance.now();
    service.child.kill('SIGTERM');
    await eventually(async () => expect((await probe('/health/ready')).status).toBe(503), { everyMs: 10 });
    expect(performance.now() - start).toBeLessThan(1_000);
    expect([await fresh(), (await probe('/health/live')).status]).toEqual([422, 200]);
    expect(await service.ended).toEqual({ code: 0, signal: null });
    expect(performance.now() - start).toBeGreaterThan(1_490);
    await expect(fresh()).rejects.toThrow();
  });

  test('with a delay as long as its time limit, still ends within that', async () => {
    const service = run({ ...environment(), SHUTDOWN_DELAY_MS: '60000', SHUTDOWN_TIMEOUT_MS: '3000' });
    await service.listening();
    const start = performance.now();
    service.child.kill('SIGTERM');
    expect(await service.ended).toEqual({ code: 0, signal: null });
    expect(performance.now() - start).toBeLessThan(5_000);
  });

  test('while 50 requests arrive per second, answers every accepted request and publishes every event', async () => {
    const received = await listen();
    const service = run(environment());
    const { port } = await service.listening();
    let sent = 0;
    const responses: Promise<{ begun: number; status?: number; id?: number }>[] = [];
    const timer = setInterval(() => {
      const begun = performance.now();
      const body = JSON.stringify({ ...ada, email: `steady.${sent++}@example.com` });
      const headers = { 'content-type': 'application/json', connection: 'close' };
      const answer = fetch(`http://127.0.0.1:${port}/users`, { method: 'POST', headers, body });
      responses.push(
        answer.then(
          async (response) => ({ begun, status: response.status, id: ((await response.json()) as { id: number }).id }),
          () => ({ begun }),
        ),
      );
    }, 20);
    await sleep(2_000);
    const start = performance.now();
    service.child.kill('SIGTERM');
    expect(await service.ended).toEqual({ code: 0, signal: null });
    expect(performance.now() - start).toBeLessThan(10_000);
    clearInterval(timer);
    const answers = await Promise.all(responses);
    // A request that arrived after the port had closed was refused. Every other one took effect and was answered.
    for (const { begun, status } of answers) if (begun < start - 1_000 || status) expect(status).toBe(201);
    const created = answers.filter(({ status }) => status).map(({ id }) => `user.created ${id}`);
    expect(created.length).toBeGreaterThan(20);
    const { rows } = await withClient(database.adminUrl, (admin) =>
      admin.query<{ id: number }>('select id from users.users'),
    );
    expect(rows.map(({ id }) => `user.created ${id}`).sort()).toEqual(created.sort());
    await eventually(() => expect(created.filter((event) => !received.includes(event))).toEqual([]));
  });

  test('twice, ends at once', async () => {
    const service = run(environment());
    const { port } = await service.listening();
    await requestInFlight(port);
    service.child.kill('SIGTERM');
    await sleep(300);
    expect(service.child.exitCode).toBeNull();
    const start = performance.now();
    service.child.kill('SIGTERM');
    expect(await service.ended).toEqual({ code: 1, signal: null });
    expect(performance.now() - start).toBeLessThan(1_000);
  });

  test('ends within its time limit although a request never ends and the broker is silent', async () => {
    await listen();
    const service = run({ ...environment(), SHUTDOWN_TIMEOUT_MS: '3000' });
    const { port, post } = await service.listening();
    await eventually(() => expect(service.out()).toContain('connected to the broker'));
    await requestInFlight(port);
    brokerProxy.stall();
    expect(await post('/users', { ...ada, email: 'first@example.com' })).toMatchObject({ status: 201 });
    const start = performance.now();
    service.child.kill('SIGTERM');
    expect(await service.ended).toEqual({ code: 0, signal: null });
    expect(performance.now() - start).toBeLessThan(8_000);
  });

  test('while it waits for its database, ends without it', async () => {
    const service = run({ ...environment(), DATABASE_URL: 'postgres://unknown:secret@127.0.0.1:1/nothing' });
    await eventually(() => expect(service.out()).toContain('waiting for the database'));
    await sleep(3_000); // it tries again each second
    const [line = '', ...more] = service.out().trim().split('\n');
    expect(JSON.parse(line)).toMatchObject({ level: 'warn', code: 'ECONNREFUSED', address: '127.0.0.1:1' });
    expect({ length: line.length < 250, more }).toEqual({ length: true, more: [] });
    service.child.kill('SIGTERM');
    expect(await service.ended).toEqual({ code: 0, signal: null });
  });

  test('ends within its time limit although the database is silent', async () => {
    const service = run({ ...environment(), SHUTDOWN_TIMEOUT_MS: '3000' });
    await service.listening();
    databaseProxy.stall();
    const start = performance.now();
    service.child.kill('SIGTERM');
    expect(await service.ended).toEqual({ code: 0, signal: null });
    expect(performance.now() - start).toBeLessThan(8_000);
  });

  test('before it listens, ends', async () => {
    databaseProxy.limit(0);
    const service = run(environment());
    await eventually(() => expect(service.out()).toContain('waiting for the database'), { timeoutMs: 15_000 });
    service.child.kill('SIGTERM');
    await service.ended;
  });
});

const kills = fullScale ? 50 : 3;
test(`killed ${kills} times under load, stores every user it answered with 201 once, although clients repeat their requests`, async () => {
  const received = await listen();
  let service = run(environment());
  const { port } = await service.listening(30_000);
  const url = `http://127.0.0.1:${port}`;
  const users = new Map<string, number | undefined>();
  let done = false;
  /** Repeats a request that was not answered. A 409 then means that it had taken effect. */
  async function createWithRetries(email: string): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      const answer = await client(url)
        .post('/users', { ...ada, email })
        .catch(() => undefined);
      if (answer?.status === 201) return void users.set(email, answer.body.id);
      if (answer?.status === 409 && attempt > 1) return void users.set(email, undefined);
      if (answer && answer.status !== 503) throw new Error(`${email}: ${answer.status}`);
      await sleep(50);
    }
  }
  const clients = Array.from({ length: 8 }, async (_, index) => {
    for (let n = 0; !done; n += 1) await createWithRetries(`killed.${index}.${n}@example.com`);
  });
  for (let round = 0; round < kills; round += 1) {
    await sleep(200 + Math.random() * 200);
    service.child.kill('SIGKILL');
    await service.ended;
    service = run({ ...environment(), PORT: String(port) });
    await service.listening(60_000);
  }
  done = true;
  await Promise.all(clients);

  const rows = await withClient(database.adminUrl, (admin) =>
    admin.query<{ id: number }>('select id from users.users'),
  );
  expect(rows.rowCount).toBe(users.size);
  const ids = new Set(rows.rows.map(({ id }) => id));
  expect([...users.values()].filter((id) => id !== undefined && !ids.has(id))).toEqual([]);
  await eventually(() => {
    const events = new Set(received);
    expect([...ids].filter((id) => !events.has(`user.created ${id}`))).toEqual([]);
  });
  expect(new Set(received).size).toBe(ids.size);
}, 500_000);

describe('a service that cannot start prints the reason', () => {
  test('when the environment is not valid: one message names every variable, and it exits with 1', async () => {
    const service = run({ PORT: 'eighty', LOG_LEVEL: 'info' });
    expect(await service.ended).toEqual({ code: 1, signal: null });
    expect(service.out()).toBe('');
    const lines = service.err().trim().split('\n');
    expect(lines[0]).toMatch(/\busers\b.* cannot start\. The environment is not valid:$/);
    expect(
      lines
        .slice(1)
        .map((line) => /^ {2}- (\w+) is not /.exec(line)?.[1])
        .sort(),
    ).toEqual(['AMQP_URL', 'DATABASE_URL', 'PII_ENCRYPTION_KEYS', 'PII_INDEX_KEY', 'PORT']);
    expect(service.err()).not.toContain('eighty');
  });

  test('when its port is taken', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    cleanUp.push(() => other.close());
    const service = run({ ...environment(), PORT: String((other.address() as AddressInfo).port) });
    expect(await service.ended).toEqual({ code: 1, signal: null });
    expect(service.err()).toMatch(/^[^\n]* cannot start\. [^\n]* is taken: set PORT to a free one\.\n$/);
  });

  test('when the port of its internal listener is taken', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    cleanUp.push(() => other.close());
    const service = run({ ...environment(), INTERNAL_PORT: String((other.address() as AddressInfo).port) });
    expect(await service.ended).toEqual({ code: 1, signal: null });
    expect(service.err()).toMatch(
      /^[^\n]* cannot start\. INTERNAL_PORT \d+ is taken: set INTERNAL_PORT to a free one\.\n$/,
    );
  });

  test('when the port of its metrics is taken', async () => {
    const other = createServer().listen(0, '127.0.0.1');
    await once(other, 'listening');
    cleanUp.push(() => other.close());
    const service = run({ ...environment(), METRICS_PORT: String((other.address() as AddressInfo).port) });
    expect(await service.ended).toEqual({ code: 1, signal: null });
    expect(service.err()).toMatch(
      /^[^\n]* cannot start\. METRICS_PORT \d+ is taken: set METRICS_PORT to a free one\.\n$/,
    );
  });

  test.each([
    [{ PORT: '18001', INTERNAL_PORT: '18001' }, 'PORT and INTERNAL_PORT are both 18001: set INTERNAL_PORT to another'],
    [{ PORT: '65000' }, 'INTERNAL_PORT is not set, and PORT + 1000 is no port: set INTERNAL_PORT.'],
    [{ INTERNAL_PORT: 'eighty' }, '  - INTERNAL_PORT is not valid: '],
    [
      { PORT: '18001', METRICS_PORT: '18001' },
      'PORT and METRICS_PORT are both 18001: set METRICS_PORT to another port.',
    ],
    [{ PORT: '18001', METRICS_PORT: '19001' }, 'INTERNAL_PORT and METRICS_PORT are both 19001: set METRICS_PORT to'],
    [{ METRICS_PORT: '65536' }, '  - METRICS_PORT is not valid: '],
  ])('when a listener has no port of its own: %j', async (ports, reason) => {
    const service = run({ ...environment(), ...ports });
    expect(await service.ended).toEqual({ code: 1, signal: null });
    expect(service.err()).toContain(reason);
  });

  test('when the database rejects its password, which the message does not contain', async () => {
    const url = new URL(database.urlFor('users'));
    url.password = 'hunter2';
    const service = run({ ...environment(), DATABASE_URL: url.href });
    expect(await service.ended).toEqual({ code: 1, signal: null });
    expect(service.err()).toBe(
      'The users service cannot start. The database rejects the user or the password of DATABASE_URL.\n',
    );
    expect(service.out() + service.err()).not.toContain('hunter2');
  });

  test('when its own configuration rule is broken', async () => {
    const service = run({ ...environment(), PII_INDEX_KEY: testKeys[0] });
    expect(await service.ended).toEqual({ code: 1, signal: null });
    expect(service.err()).toMatch(
      /^[^\n]* cannot start\. PII_INDEX_KEY must be a key of its own, not one of PII_ENCRYPTION_KEYS\n$/,
    );
  });
});

describe('a service that is started', () => {
  test('before the database: waits for it, then serves', async () => {
    databaseProxy.limit(0);
    const service = run(environment());
    await eventually(() => expect(service.out()).toContain('waiting for the database'), { timeoutMs: 15_000 });
    expect(service.out()).not.toContain('listening');
    databaseProxy.limit(undefined);
    const { post } = await service.listening();
    expect(await post('/users', ada)).toMatchObject({ status: 201 });
  });

  test('before the broker: serves, keeps the events, and publishes them when the broker is available', async () => {
    brokerProxy.limit(0);
    const received = await listen();
    const service = run(environment());
    const { probe, post } = await service.listening();
    const created = await post('/users', ada);
    expect(created.status).toBe(201);
    expect(await probe('/health/ready')).toMatchObject({ status: 200 });
    expect(await probe('/health')).toMatchObject({
      status: 200,
      body: { status: 'ok', app: 'PromoPulse Users', broker: 'disconnected', outbox: { waiting: 1 } },
    });
    await sleep(500);
    expect(received).toEqual([]);
    brokerProxy.limit(undefined);
    await eventually(() => expect(received).toEqual([`user.created ${created.body.id}`]), { timeoutMs: 10_000 });
    await eventually(async () =>
      expect(await probe('/health')).toMatchObject({ body: { broker: 'connected', outbox: { waiting: 0 } } }),
    );
  });
});

test('is degraded, and still ready, when the broker is away and an event waits for longer than 30 seconds', async () => {
  brokerProxy.limit(0);
  const { probe, post } = await run(environment()).listening();
  expect(await post('/users', ada)).toMatchObject({ status: 201 });
  expect(await probe('/health')).toMatchObject({ status: 200, body: { status: 'ok', degraded: [], dead_letters: 0 } });
  await sleep(29_000);
  expect(await probe('/health')).toMatchObject({ status: 200, body: { status: 'ok', degraded: [] } });
  await sleep(3_000);
  expect(await probe('/health')).toMatchObject({
    status: 200,
    body: {
      status: 'degraded',
      degraded: [
        expect.stringMatching(/^broker disconnected for 3[1-4] s: the other side closed the connection/),
        expect.stringMatching(/^oldest event not published for 3[1-4] s$/),
      ],
    },
  });
  expect(await probe('/health/ready')).toMatchObject({ status: 200 });
  await listen();
  brokerProxy.limit(undefined);
  await eventually(async () => expect(await probe('/health')).toMatchObject({ body: { status: 'ok', degraded: [] } }), {
    timeoutMs: 15_000,
  });
}, 90_000);

test('deletes a published event after OUTBOX_RETENTION_SECONDS', async () => {
  const { post } = await run({ ...environment(), OUTBOX_RETENTION_SECONDS: '1' }).listening();
  await listen();
  await post('/users', ada);
  const kept = (): Promise<boolean[]> =>
    withClient(database.adminUrl, async (admin) => {
      const { rows } = await admin.query<{ published: boolean }>(
        'select published_at is not null as published from users.outbox',
      );
      return rows.map(({ published }) => published);
    });
  await eventually(async () => expect(await kept()).toEqual([true]));
  await eventually(async () => expect(await kept()).toEqual([]), { timeoutMs: 40_000 });
}, 60_000);

describe('a service, while the database', () => {
  const outageSeconds = fullScale ? 30 : 3;
  const outage = {
    'is down': {
      begin: () => {
        databaseProxy.limit(0);
        databaseProxy.cut();
      },
      end: () => databaseProxy.limit(undefined),
    },
    'is silent': { begin: () => databaseProxy.stall(), end: () => databaseProxy.resume() },
  };

  test.each(['is down', 'is silent'] as const)(
    '%s, is live but not ready and answers only 503; it works again within five seconds of the end',
    async (kind) => {
      const service = run(environment());
      const { get, probe, post, request } = await service.listening();
      const { body: user } = await post('/users', ada);
      expect(await probe('/health/ready')).toMatchObject({ status: 200, body: { status: 'ok' } });

      outage[kind].begin();
      const start = performance.now();
      const [created, ...answers] = await Promise.all([
        post('/users', { ...ada, email: 'second@example.com' }),
        request('PATCH', `/users/${user.id}`, { body: { last_name: 'King' } }),
        probe('/health/ready'),
        probe('/health'),
        get(`/users/${user.id}`),
        get('/users?email=ada@example.com'),
      ]);
      expect(performance.now() - start).toBeLessThan(10_000);
      for (const answer of answers) {
        expect(answer).toMatchObject({ status: 503, body: { code: 'unavailable', request_id: expect.any(String) } });
        expect(Number(answer?.headers.get('retry-after'))).toBeGreaterThan(0);
      }
      // One statement, which may have gone out on a connection that was open before.
      const isUnknown = created.body.code === 'outcome_unknown';
      expect(created).toMatchObject({ status: 503, body: isUnknown ? {} : { code: 'unavailable' } });
      expect(Number(created.headers.get('retry-after')) > 0).toBe(!isUnknown);
      expect(await probe('/health/live')).toMatchObject({ status: 200, body: { status: 'ok' } });
      expect(await get('/users/abc')).toMatchObject({ status: 422 });

      outage[kind].end();
      await eventually(async () => expect(await probe('/health/ready')).toMatchObject({ status: 200 }), {
        timeoutMs: 5_000,
      });
      for (let n = 0; n < 10; n++) expect(await get(`/users/${user.id}`)).toMatchObject({ status: 200 });
      expect(await post('/users', { ...ada, email: 'third@example.com' })).toMatchObject({ status: 201 });
      expect(service.child.exitCode).toBeNull();
      expect(service.err()).toBe('');
      expect(service.out()).not.toContain('"level":"error"');
      expect(service.out()).not.toMatch(/ada@|second@|third@/);
    },
  );

  test(`is down for ${outageSeconds} s under load, answers only 503, does not restart, and works again`, async () => {
    const service = run(environment());
    const { get, probe, post, request } = await service.listening();
    const { body: user } = await post('/users', ada);
    outage['is down'].begin();
    await eventually(async () => expect((await get(`/users/${user.id}`)).status).toBe(503));
    const statuses = new Map<number, number>();
    const end = Date.now() + outageSeconds * 1_000;
    const requests = [
      () => get(`/users/${user.id}`),
      () => get('/users?email=ada@example.com'),
      () => post('/users', { ...ada, email: 'down@example.com' }),
      () => request('PATCH', `/users/${user.id}`, { body: { last_name: 'King' } }),
      () => probe('/health/ready'),
    ];
    await Promise.all(
      requests.map(async (send) => {
        while (Date.now() < end) {
          const { status } = await send();
          statuses.set(status, (statuses.get(status) ?? 0) + 1);
        }
      }),
    );
    expect([...statuses.keys()]).toEqual([503]);
    expect(statuses.get(503)).toBeGreaterThan(20);
    expect(await probe('/health/live')).toMatchObject({ status: 200 });
    outage['is down'].end();
    await eventually(async () => expect((await get(`/users/${user.id}`)).status).toBe(200), { timeoutMs: 5_000 });
    expect((await post('/users', { ...ada, email: 'down@example.com' })).status).toBe(201);
    expect(service.child.exitCode).toBeNull();
    expect(service.err()).toBe('');
  }, 90_000);
});
