// The command after a restore, as a process, with a real database and a neighbour whose answer the test decides.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { pathToFileURL } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { childEnvironment } from '@promopulse/testing/child-environment';
import { createTestDatabase, type TestDatabase } from '@promopulse/testing/servers';
import pg from 'pg';
import { hasQueue } from '../../src/contracts/queues.ts';
import { services } from '../../src/contracts/services.ts';
import { openDatabase } from '../../src/database/database.ts';
import { Lease, tryLease } from '../../src/database/lease.ts';
import { OutboxMessage } from '../../src/outbox/outbox.ts';
import { Publication } from '../../src/outbox/publication.ts';

const none = { highest_id: 0, lost: 0, subscriptions_of_lost: 0 };
let testDatabase: TestDatabase;
let admin: pg.Client;
let answer: { status: number; body: unknown };
/** The answer of the second neighbour that consumes events, where a test has one. */
let secondAnswer: typeof answer;
const asked: string[] = [];
const neighbour = createServer((request, response) => {
  asked.push(String(request.url));
  const { status, body } = request.url?.startsWith('/second') ? secondAnswer : answer;
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
});

beforeAll(async () => {
  testDatabase = await createTestDatabase(['users']);
  const database = await open();
  const em = database.em();
  const tables = await em.getPlatform().getSchemaGenerator(em.getDriver(), em).getCreateSchemaSQL({ wrap: false });
  await database.run({ text: tables.replace(/create schema[^;]*;/, '') }, []);
  await database.run({ text: 'create table users (id serial primary key)' }, []);
  await database.run({ text: 'insert into publication (id) values (1)' }, []);
  await database.close();
  admin = new pg.Client({ connectionString: testDatabase.adminUrl });
  await admin.connect();
  neighbour.listen(0, '127.0.0.1');
  await once(neighbour, 'listening');
});
afterAll(async () => {
  neighbour.close();
  await admin.end();
  await testDatabase.drop();
});
beforeEach(async () => {
  asked.length = 0;
  answer = { status: 200, body: none };
  await admin.query(`truncate users.users restart identity`);
  await insertUser();
});

const open = () =>
  openDatabase({
    url: testDatabase.urlFor('users'),
    schema: 'users',
    entities: [OutboxMessage, Publication, Lease],
    migrations: import.meta.dirname,
  });
const insertUser = async (): Promise<number> =>
  (await admin.query('insert into users.users default values returning id')).rows[0].id;
const storedEpoch = async (): Promise<string> =>
  (await admin.query('select epoch from users.publication')).rows[0].epoch;
const neighbourUrl = () => `http://127.0.0.1:${(neighbour.address() as AddressInfo).port}`;

const command = join(import.meta.dirname, '../../src/commands/after-restore.ts');

/** With one neighbour: the others that consume events are left out. */
const others = services
  .filter((name) => name !== 'subscriptions' && hasQueue(name))
  .flatMap((name) => ['--without', name]);

async function run(args: string[], env: Record<string, string> = {}, nodeOptions: string[] = []) {
  const child = spawn(process.execPath, [...nodeOptions, command, ...args, ...others], {
    env: {
      ...childEnvironment,
      DATABASE_URL: testDatabase.urlFor('users'),
      SUBSCRIPTIONS_INTERNAL_URL: neighbourUrl(),
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')]);
  return { code, out, err };
}

test('begins a new epoch, and ids go on above the highest that a neighbour has seen', async () => {
  const before = await storedEpoch();
  answer.body = { highest_id: 1_027, lost: 0, subscriptions_of_lost: 0 };
  const result = await run(['users']);
  const epoch = await storedEpoch();
  expect(epoch).not.toBe(before);
  expect(result).toEqual({
    code: 0,
    err: '',
    out: [
      'subscriptions has seen ids of users up to 1027.',
      `users begins the epoch ${epoch}.`,
      'The next id of users is 101028.',
      'Start users now. Its consumers then read all of it again.',
      '',
    ].join('\n'),
  });
  expect(asked).toEqual(['/internal/projections/users']);
  expect(await insertUser()).toBe(101_028);
});

test('raises ids above its own when a neighbour has seen fewer, and tells what was lost before', async () => {
  answer.body = { highest_id: 0, lost: 3, subscriptions_of_lost: 2 };
  expect((await run(['users'])).out).toContain('3 of users that were lost before, and 2 subscriptions of these');
  expect(await insertUser()).toBe(100_002);
});

describe('with two services that consume its events', () => {
  const queuesUrl = pathToFileURL(join(import.meta.dirname, '../../src/contracts/queues.ts'));
  const secondQueue = `import { queues } from '${queuesUrl}'; queues['promotions.projections'] = ['user.*'];`;
  const runWithBoth = (...more: string[]) =>
    run(['users', ...more], { PROMOTIONS_INTERNAL_URL: `${neighbourUrl()}/second` }, [
      `--import=data:text/javascript,${encodeURIComponent(secondQueue)}`,
    ]);
  const seen = (highest_id: number) => ({ status: 200, body: { highest_id, lost: 0, subscriptions_of_lost: 0 } });
  const holdsNothing = { status: 404, body: { status: 404, code: 'not_found', request_id: '1' } };

  test.each([
    ['the first has', seen(2_000), seen(7)],
    ['the second has', seen(7), seen(2_000)],
    ['the first has, when the second holds nothing of it,', seen(2_000), holdsNothing],
    ['the second has, when the first holds nothing of it,', holdsNothing, seen(2_000)],
  ])('ids go on above the highest that %s seen', async (_which, first, second) => {
    answer = first;
    secondAnswer = second;
    expect(await runWithBoth()).toMatchObject({ code: 0, out: expect.stringContaining('of users is 102001.') });
    expect(asked.toSorted()).toEqual(['/internal/projections/users', '/second/internal/projections/users']);
    expect(await insertUser()).toBe(102_001);
  });

  test('nothing is changed when one of them does not answer, and it can be left out', async () => {
    const before = await storedEpoch();
    answer = seen(2_000);
    secondAnswer = { status: 503, body: {} };
    expect(await runWithBoth()).toMatchObject({ code: 1, err: expect.stringContaining('--without promotions') });
    expect([await storedEpoch(), await insertUser()]).toEqual([before, 2]);
    expect(await runWithBoth('--without', 'promotions')).toMatchObject({ code: 0, err: '' });
    expect(await insertUser()).toBe(102_001);
  });
});

test('asks nothing more of a neighbour that says by a problem document that it holds nothing of the service', async () => {
  answer = {
    status: 404,
    body: { type: 'about:blank', title: 'Not Found', status: 404, code: 'not_found', request_id: '1' },
  };
  expect(await run(['users'])).toMatchObject({ code: 0, out: expect.stringContaining('holds nothing of users') });
});

test.each([
  ['is away', () => ({ SUBSCRIPTIONS_INTERNAL_URL: 'http://127.0.0.1:1' }), { status: 200, body: none }],
  ['answers 503', () => ({}), { status: 503, body: { status: 503, code: 'unavailable' } }],
  ["answers as a stranger's 404", () => ({}), { status: 404, body: { error: 'no route' } }],
  ['answers something else', () => ({}), { status: 200, body: { highest: 'all' } }],
])('changes nothing when the neighbour %s, and goes on without it when told so', async (_what, env, given) => {
  answer = given;
  const before = await storedEpoch();
  const result = await run(['users'], env());
  expect(result).toMatchObject({ code: 1, err: expect.stringContaining('--without subscriptions') });
  expect(await storedEpoch()).toBe(before);
  expect(await insertUser()).toBe(2);
  expect(await run(['users', '--without', 'subscriptions'], env())).toMatchObject({ code: 0, err: '' });
  expect(await storedEpoch()).not.toBe(before);
});

test('changes nothing while a relay of the service leads', async () => {
  const database = await open();
  const lease = await tryLease(database, 'relay');
  const before = await storedEpoch();
  expect(await run(['users'])).toEqual({
    code: 1,
    out: '',
    err: 'The users service is running. Stop all its replicas first.\n',
  });
  expect(await storedEpoch()).toBe(before);
  await lease?.release();
  await database.close();
});

test.each([
  ['no service', []],
  ['a service that does not exist', ['orders']],
  ['two services', ['users', 'promotions']],
  ['an unknown option', ['users', '--force']],
  ['an unknown neighbour', ['users', '--without', 'orders']],
])('%s is reported with the usage and exit code 2', async (_what, args) => {
  expect(await run(args)).toMatchObject({ code: 2, out: '', err: expect.stringMatching(/^Usage: after-restore/) });
});

test('a missing variable is named, with exit code 2', async () => {
  const { code, err } = await run(['users'], { DATABASE_URL: '', SUBSCRIPTIONS_INTERNAL_URL: '' });
  expect(code).toBe(2);
  expect(err).toContain('DATABASE_URL is not set');
  expect(err).toContain('SUBSCRIPTIONS_INTERNAL_URL is not set');
  expect((await run(['users', '--without', 'subscriptions'], { SUBSCRIPTIONS_INTERNAL_URL: '' })).code).toBe(0);
});

test('a database of an older release is reported with exit code 1', async () => {
  await admin.query('alter table users.publication rename to publication_renamed');
  const result = await run(['users']);
  await admin.query('alter table users.publication_renamed rename to publication');
  expect(result).toMatchObject({ code: 1, err: expect.stringContaining('run its migrations first') });
});
