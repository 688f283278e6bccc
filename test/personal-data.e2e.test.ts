// A marked email and phone are sent through every operation of the API, accepted and rejected: normally, without a
// database, and with an open breaker. One event becomes a dead letter. Afterwards only the successful answers to their
// caller contain them: no log line, span, column, event or error, and no file of PostgreSQL or RabbitMQ.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import { openRabbitDeadLetters } from '@promopulse/shared/messaging/rabbitmq/dead-letters';
import { type Client, type ClientResponse, client, type Wire } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { type OtlpReceiver, startOtlpReceiver } from '@promopulse/testing/otlp-receiver';
import { amqpUrl } from '@promopulse/testing/servers';
import { startTcpProxy, type TcpProxy } from '@promopulse/testing/tcp-proxy';
import { resolveRef } from './support/openapi-document.ts';
import { type RunningStack, startFreshStack } from './support/stack.ts';

const canary = 'marked.7f3a9c';
const email = `${canary}@example.com`;
const phone = '+15550199377';
const canaryPattern = new RegExp(`${canary.replace('.', '\\.')}|${phone.slice(1)}`, 'i');
const user = { first_name: 'Ada', last_name: 'L', email, phone };
const methods = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS'];

let databaseProxy: TcpProxy;
let stack: RunningStack;
let collector: OtlpReceiver;
let api: Client;
let document: Wire;
/** Every error answer, headers and body. */
const errorAnswers: { request: string; status: number; text: string }[] = [];

beforeAll(async () => {
  collector = await startOtlpReceiver();
  const env = {
    LOG_LEVEL: 'trace',
    BREAKER_RESET_MS: '500',
    OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
    OTEL_BSP_SCHEDULE_DELAY: '100',
  };
  stack = await startFreshStack('rabbit', env, async (url) => {
    databaseProxy = await startTcpProxy(url);
    return databaseProxy.through(url);
  });
  api = client(stack.url);
  document = (await api.get('/openapi.json')).body;
  // PostgreSQL logs every statement with its values, as an operator may configure it to find a fault.
  const [{ name }] = await stack.sql('select current_database() as name');
  for (const setting of [
    "log_statement = 'all'",
    "log_min_error_statement = 'error'",
    "log_error_verbosity = 'default'",
  ])
    await stack.sql(`alter database ${name} set ${setting}`);
  databaseProxy.cut();
  await eventually(async () => expect((await api.get('/health')).status).toBe(200));
}, 60_000);
afterAll(async () => {
  await stack?.close();
  await databaseProxy?.close();
  await collector?.close();
});

async function send(
  method: string,
  path: string,
  options: Parameters<Client['request']>[2] = {},
): Promise<ClientResponse<Wire>> {
  const answer = await api.request(method, path, options);
  if (answer.status >= 400) {
    const text = JSON.stringify([[...answer.headers], answer.body]);
    errorAnswers.push({ request: `${method} ${path} ${JSON.stringify(options)}`, status: answer.status, text });
  }
  return answer;
}

/** Bodies that are rejected, with the email or the phone in every possible position. */
function* invalidBodies(schema: Wire, example: Wire): Generator<unknown> {
  yield { ...example, unknown: email };
  yield { ...example, [email]: 1 };
  yield `{"email":"${email}",`;
  yield JSON.stringify(email);
  const { properties = {} } = resolveRef(document, schema);
  for (const name of Object.keys(properties)) {
    for (const value of [email, phone, `${email}\0`, [email], { [phone]: email }]) {
      yield { ...example, [name]: value, unknown: email }; // a text may contain an email; the unknown field makes it invalid
    }
  }
}

/**
 * Sends every operation of the document, and every other method of its paths, with the email in every part of a request.
 * @returns the number of error answers
 */
async function sendEveryOperation(): Promise<number> {
  const before = errorAnswers.length;
  for (const [path, item] of Object.entries<Wire>(document.paths)) {
    for (const method of methods) {
      const marked = path.replaceAll(/\{\w+\}/g, encodeURIComponent(email));
      const plain = path.replaceAll(/\{\w+\}/g, '2147483647');
      const operation = item[method.toLowerCase()];
      const parameters = (operation?.parameters ?? [])
        .map((each: Wire) => resolveRef(document, each))
        .filter((each: Wire) => each.in === 'query');
      for (const name of ['unknown', encodeURIComponent(email), ...parameters.map((each: Wire) => each.name)]) {
        await send(method, `${plain}?${name}=${encodeURIComponent(`${email}\0`)}`);
        await send(method, `${plain}?${name}=${encodeURIComponent(phone)}`);
      }
      await send(method, `${marked}?email=${email}`, {
        headers: {
          'x-request-id': email,
          referer: email,
          'idempotency-key': `"${email}"`,
          traceparent: email,
          tracestate: `vendor=${email}`,
          baggage: `email=${encodeURIComponent(email)}`,
        },
      });
      if (method === 'GET') continue;
      const { schema = {}, example = {} } = operation?.requestBody?.content['application/json'] ?? {};
      for (const body of invalidBodies(schema, example)) await send(method, plain, { body });
      for (const reason of [email, `call ${phone}`]) {
        await send(method, plain, { body: example, headers: { 'x-reason': reason } });
      }
      await send(method, plain, {
        body: JSON.stringify(user),
        headers: { 'content-type': `text/plain; a="${email}"` },
      });
    }
  }
  await send('GET', `/nowhere/${email}?email=${email}`);
  await send('GET', `/users/%2e%2e/${email}`);
  return errorAnswers.length - before;
}

/** Every span that was made until now: a span that begins and ends last is exported after them. */
async function textOfAllSpans(): Promise<string> {
  const [traceId, spanId] = ['f'.repeat(32), '1'.repeat(16)];
  await send('GET', '/users/1', { headers: { traceparent: `00-${traceId}-${spanId}-01` } });
  await eventually(() => {
    const last = collector.spans.find(({ links }) => links.some((link) => link.traceId === traceId));
    const services = collector.spans.filter((span) => span.traceId === last?.traceId).map(({ service }) => service);
    expect(services).toEqual(expect.arrayContaining(['promopulse-gateway', 'promopulse-users']));
  });
  return collector.text();
}

/** The text of a file, or of all files below a folder. */
function contents(path: string): string {
  if (!statSync(path).isDirectory()) return readFileSync(path, 'latin1');
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isFile() || entry.isDirectory())
    .map((entry) => contents(join(path, entry.name)))
    .join('\n');
}

async function textOfAllRows(): Promise<string> {
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
  const store = await openRabbitDeadLetters({ url: amqpUrl() }, { prefix: stack.prefix });
  try {
    return (await store.list()).map((deadLetter) => JSON.stringify(deadLetter));
  } finally {
    await store.close();
  }
}

/** Creates a user whose event cannot be applied and becomes a dead letter. */
async function createDeadLetter(): Promise<void> {
  await stack.sql('alter table subscriptions.known_users rename to known_users_renamed');
  await send('POST', '/users', { body: { ...user, email: `dead.${email}` } });
  expect((await send('POST', '/subscriptions', { body: { user_id: 1, promotion_id: 1 } })).status).toBe(500);
  await eventually(async () => expect(await deadLetters()).toHaveLength(1), { timeoutMs: 20_000 });
  await stack.sql('alter table subscriptions.known_users_renamed rename to known_users');
}

test('an email and a phone sent through every operation, accepted and rejected, are in no log line, span, column, event, error, dead letter or server file', async () => {
  const headers = { 'idempotency-key': `"${email}"` };
  const { id } = (await send('POST', '/users', { body: user, headers })).body;
  expect((await send('POST', '/users', { body: user, headers })).body.id).toBe(id);
  expect((await send('POST', '/users', { body: { ...user, email: email.toUpperCase() } })).status).toBe(409);
  expect((await send('GET', `/users?email=${email}`)).body.total).toBe(1);
  const changed = { email: `new.${email}`, phone };
  expect((await send('PATCH', `/users/${id}`, { body: changed })).status).toBe(200);
  const promotion = { name: 'Sale', start_at: '2026-06-01T00:00:00Z', end_at: '2026-07-01T00:00:00Z' };
  const { id: promotionId } = (await send('POST', '/promotions', { body: promotion })).body;
  await send('POST', `/promotions/${promotionId}/status`, { body: { status: 'active' } });
  await send('POST', '/subscriptions', { body: { user_id: id, promotion_id: promotionId } });

  expect(await sendEveryOperation()).toBeGreaterThan(200);
  await createDeadLetter();

  databaseProxy.limit(0);
  databaseProxy.cut();
  const expectOpenBreaker = async () => {
    await send('POST', '/users', { body: { ...user, email: `unavailable.${email}` } });
    await send('PATCH', `/users/${id}`, { body: changed });
    expect((await send('GET', `/users?email=${email}`)).body.code).toBe('upstream_unavailable');
  };
  await eventually(expectOpenBreaker, { timeoutMs: 20_000, everyMs: 1 });
  await sendEveryOperation();
  databaseProxy.limit(undefined);
  await eventually(async () => {
    expect((await send('POST', '/users', { body: { ...user, email: `again.${email}` } })).status).toBe(201);
  });
  await eventually(async () => {
    const [{ waiting }] = await stack.sql(
      'select count(*)::int as waiting from users.outbox where published_at is null',
    );
    expect(waiting).toBe(0);
  });

  const seenStatuses = new Set(errorAnswers.map(({ status }) => status));
  expect([404, 405, 409, 415, 422, 500, 503].filter((status) => !seenStatuses.has(status))).toEqual([]);
  expect(errorAnswers.filter(({ text }) => canaryPattern.test(text))).toEqual([]);

  const texts: [where: string, text: string, expected: string][] = [
    ['log lines', stack.logs(), '"method":"POST"'],
    ['tables', await textOfAllRows(), 'user.created'],
    ['spans', await textOfAllSpans(), 'process subscriptions.projections'],
    ['dead letters', (await deadLetters()).join('\n'), 'user.created'],
  ];
  const { TEST_DATABASE_LOG, TEST_RABBITMQ_FOLDER } = process.env; // set when the run started its own servers
  if (TEST_DATABASE_LOG) texts.push(["PostgreSQL's log", contents(TEST_DATABASE_LOG), 'user.created']);
  if (TEST_RABBITMQ_FOLDER) texts.push(["RabbitMQ's files", contents(TEST_RABBITMQ_FOLDER), stack.prefix]);
  for (const [where, text, expected] of texts) {
    expect([where, text.includes(expected)]).toEqual([where, true]);
    expect([where, canaryPattern.exec(text)?.[0]]).toEqual([where, undefined]);
  }
}, 240_000);
