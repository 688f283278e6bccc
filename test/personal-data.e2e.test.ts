// A marked address and phone go through every operation of the API, accepted and refused, while all is well, while the
// database is away and while a breaker is open, and into a dead letter. Afterwards nothing but the answers to their own
// caller has seen them: no log line, no column, no event, no error, neither PostgreSQL's nor RabbitMQ's files.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { openRabbitDeadLetters } from '@promopulse/shared/messaging/rabbitmq/dead-letters';
import { type Client, type ClientResponse, client, type Wire } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { amqpUrl } from '@promopulse/testing/servers';
import { startTcpProxy, type TcpProxy } from '@promopulse/testing/tcp-proxy';
import { type RunningStack, startFreshStack } from './support/stack.ts';

const canary = 'marked.7f3a9c';
const email = `${canary}@example.com`;
const phone = '+15550199377';
const traces = new RegExp(`${canary.replace('.', '\\.')}|${phone.slice(1)}`, 'i');
const user = { first_name: 'Ada', last_name: 'L', email, phone };
const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

let link: TcpProxy;
let stack: RunningStack;
let api: Client;
let document: Wire;
/** What was answered with an error, as its caller saw it. */
const refusals: { asked: string; status: number; text: string }[] = [];

beforeAll(async () => {
  stack = await startFreshStack('rabbit', { LOG_LEVEL: 'trace', BREAKER_RESET_MS: '500' }, async (url) => {
    link = await startTcpProxy(url);
    return link.through(url);
  });
  api = client(stack.url);
  document = (await api.get('/openapi.json')).body;
  // PostgreSQL writes down all it is told, values too, as it would for an operator who looks for something.
  const [{ name }] = await stack.sql('select current_database() as name');
  for (const setting of [
    "log_statement = 'all'",
    "log_min_error_statement = 'error'",
    "log_error_verbosity = 'default'",
  ])
    await stack.sql(`alter database ${name} set ${setting}`);
  link.cut();
  await eventually(async () => expect((await api.get('/health')).status).toBe(200));
}, 60_000);
afterAll(async () => {
  await stack?.close();
  await link?.close();
});

async function send(
  method: string,
  path: string,
  options: Parameters<Client['request']>[2] = {},
): Promise<ClientResponse<Wire>> {
  const answer = await api.request(method, path, options);
  if (answer.status >= 400) {
    const text = JSON.stringify([[...answer.headers], answer.body]);
    refusals.push({ asked: `${method} ${path} ${JSON.stringify(options)}`, status: answer.status, text });
  }
  return answer;
}

/** Bodies that are refused, with the address wherever it fits. */
function* spoiledBodies(schema: Wire, example: Wire): Generator<unknown> {
  yield { ...example, unknown: email };
  yield { ...example, [email]: 1 };
  yield `{"email":"${email}",`;
  yield JSON.stringify(email);
  const properties = schema.properties ?? document.components.schemas[schema.$ref?.split('/').at(-1)]?.properties;
  for (const name of Object.keys(properties ?? {})) {
    for (const value of [email, phone, `${email}\0`, [email], { [phone]: email }]) {
      yield { ...example, [name]: value, unknown: email }; // what is text may hold an address; here it is refused
    }
  }
}

/** Every operation of the document, and every method it does not have, with the address in every place of a request. */
async function everyOperation(): Promise<number> {
  const before = refusals.length;
  for (const [path, item] of Object.entries<Wire>(document.paths)) {
    for (const method of methods) {
      const marked = path.replaceAll(/\{\w+\}/g, encodeURIComponent(email));
      const plain = path.replaceAll(/\{\w+\}/g, '2147483647');
      const operation = item[method.toLowerCase()];
      const asked = (operation?.parameters ?? []).filter((each: Wire) => each.in === 'query');
      for (const name of ['unknown', encodeURIComponent(email), ...asked.map((each: Wire) => each.name)]) {
        await send(method, `${plain}?${name}=${encodeURIComponent(`${email}\0`)}`);
        await send(method, `${plain}?${name}=${encodeURIComponent(phone)}`);
      }
      await send(method, `${marked}?email=${email}`, { headers: { 'x-request-id': email, referer: email } });
      if (method === 'GET') continue;
      const { schema = {}, example = {} } = operation?.requestBody?.content['application/json'] ?? {};
      for (const body of spoiledBodies(schema, example)) await send(method, plain, { body });
      await send(method, plain, {
        body: JSON.stringify(user),
        headers: { 'content-type': `text/plain; a="${email}"` },
      });
    }
  }
  await send('GET', `/nowhere/${email}?email=${email}`);
  await send('GET', `/users/%2e%2e/${email}`);
  return refusals.length - before;
}

/** Everything in the files below a folder, or in one file. */
function contents(path: string): string {
  if (!statSync(path).isDirectory()) return readFileSync(path, 'latin1');
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isFile() || entry.isDirectory())
    .map((entry) => contents(join(path, entry.name)))
    .join('\n');
}

async function everyRow(): Promise<string> {
  const tables = await stack.sql(
    `select format('%I.%I', schemaname, tablename) as name from pg_tables
     where schemaname in ('users', 'promotions', 'subscriptions')`,
  );
  const rows = await Promise.all(tables.map(({ name }) => stack.sql(`select to_jsonb(t)::text as row from ${name} t`)));
  return rows
    .flat()
    .map(({ row }) => row)
    .join('\n');
}

async function deadLetters(): Promise<string[]> {
  const letters = await openRabbitDeadLetters(amqpUrl(), { prefix: stack.prefix });
  try {
    return (await letters.list()).map((letter) => JSON.stringify(letter));
  } finally {
    await letters.close();
  }
}

/** A user whose event cannot be applied, and goes to the dead letters. */
async function leaveDeadLetter(): Promise<void> {
  await stack.sql('alter table subscriptions.known_users rename to known_users_away');
  await send('POST', '/users', { body: { ...user, email: `dead.${email}` } });
  expect((await send('POST', '/subscriptions', { body: { user_id: 1, promotion_id: 1 } })).status).toBe(500);
  await eventually(async () => expect(await deadLetters()).toHaveLength(1), { timeoutMs: 20_000 });
  await stack.sql('alter table subscriptions.known_users_away rename to known_users');
}

test('an email and a phone that went through every operation, well and ill, are in no log line, column, event, error, dead letter or server file', async () => {
  const { id } = (await send('POST', '/users', { body: user })).body;
  expect((await send('POST', '/users', { body: { ...user, email: email.toUpperCase() } })).status).toBe(409);
  expect((await send('GET', `/users?email=${email}`)).body.total).toBe(1);
  const changed = { email: `new.${email}`, phone };
  expect((await send('PATCH', `/users/${id}`, { body: changed })).status).toBe(200);
  const promotion = { name: 'Sale', start_at: '2026-06-01T00:00:00Z', end_at: '2026-07-01T00:00:00Z' };
  const { id: promotionId } = (await send('POST', '/promotions', { body: promotion })).body;
  await send('POST', `/promotions/${promotionId}/status`, { body: { status: 'active' } });
  await send('POST', '/subscriptions', { body: { user_id: id, promotion_id: promotionId } });

  expect(await everyOperation()).toBeGreaterThan(200);
  await leaveDeadLetter();

  link.limit(0);
  link.cut();
  const untilTheBreakerOpens = async () => {
    await send('POST', '/users', { body: { ...user, email: `away.${email}` } });
    await send('PATCH', `/users/${id}`, { body: changed });
    expect((await send('GET', `/users?email=${email}`)).body.code).toBe('upstream_unavailable');
  };
  await eventually(untilTheBreakerOpens, { timeoutMs: 20_000, everyMs: 1 });
  await everyOperation();
  link.limit(undefined);
  await eventually(async () => {
    expect((await send('POST', '/users', { body: { ...user, email: `again.${email}` } })).status).toBe(201);
  });
  await eventually(async () => {
    const [{ waiting }] = await stack.sql(
      'select count(*)::int as waiting from users.outbox where published_at is null',
    );
    expect(waiting).toBe(0);
  });

  const seen = new Set(refusals.map(({ status }) => status));
  expect([404, 405, 409, 415, 422, 500, 503].filter((status) => !seen.has(status))).toEqual([]);
  expect(refusals.filter(({ text }) => traces.test(text))).toEqual([]);

  const places: [where: string, text: string, known: string][] = [
    ['log lines', stack.logs(), '"method":"POST"'],
    ['tables', await everyRow(), 'user.created'],
    ['dead letters', (await deadLetters()).join('\n'), 'user.created'],
  ];
  const { TEST_DATABASE_LOG, TEST_RABBITMQ_FOLDER } = process.env; // where the servers are this run's own
  if (TEST_DATABASE_LOG) places.push(["PostgreSQL's log", contents(TEST_DATABASE_LOG), 'user.created']);
  if (TEST_RABBITMQ_FOLDER) places.push(["RabbitMQ's files", contents(TEST_RABBITMQ_FOLDER), stack.prefix]);
  for (const [where, text, known] of places) {
    expect([where, text.includes(known)]).toEqual([where, true]);
    expect([where, traces.exec(text)?.[0]]).toEqual([where, undefined]);
  }
}, 240_000);
