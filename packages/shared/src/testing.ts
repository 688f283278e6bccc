// What tests of all packages share: an own database per test file, the brokers of the run, waiting for an outcome,
// and a small HTTP client. The servers are chosen and started once per run by test/global-setup.ts.
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { connect } from 'amqplib';
import pg from 'pg';
import { queues } from './events.ts';
import { provision, unprovision, withClient } from './provision.ts';
import { topologyOf } from './rabbit-topology.ts';
import { type ServiceDefinition, startService } from './service.ts';

/** FIGURES=full, as CI has it: tests that scale take the time for the whole figures of docs/reliability.md. */
export const fullFigures = process.env.FIGURES === 'full';

export interface TestDatabase {
  /** For the service's own role, which owns the schema of that name. */
  urlFor(service: string): string;
  adminUrl: string;
  drop(): Promise<void>;
}

/** A database and roles of its own, so that test files run side by side; call `drop` in afterAll. */
export async function createTestDatabase(
  services: readonly string[] = ['users', 'promotions', 'subscriptions'],
): Promise<TestDatabase> {
  const cluster = required('TEST_DATABASE_URL');
  const name = `test_${randomBytes(6).toString('hex')}`;
  const place = { database: name, services };
  const { adminUrl, urls } = await provision(cluster, place);
  return {
    adminUrl,
    urlFor: (service) => {
      const url = urls[service];
      if (url === undefined) throw new Error(`${service} was not provisioned in this test's database`);
      return url;
    },
    drop: () => unprovision(cluster, place),
  };
}

export function amqpUrl(): string {
  return required('TEST_AMQP_URL');
}

/** Connects once. @returns the version of the server that answers at `url` */
export function databaseVersion(url: string): Promise<string> {
  return withClient(url, async (client) => {
    const { rows } = await client.query<{ server_version: string }>('show server_version');
    return rows[0]?.server_version ?? 'unknown';
  });
}

/** Connects once. @returns the version of the broker that answers at `url` */
export async function brokerVersion(url: string): Promise<string> {
  const model = await connect(url, { timeout: 5_000 });
  const { version } = model.connection.serverProperties;
  await model.close();
  return version;
}

/** For AMQP_PREFIX: keeps the queues of this test file apart from all others on the broker. */
export function uniquePrefix(): string {
  return `test-${randomBytes(6).toString('hex')}.`;
}

/** Runs rabbitmqctl on the broker of the run, for example `rabbitmqctl('stop_app')`; throws where there is no access. */
export async function rabbitmqctl(...args: string[]): Promise<string> {
  const script = `${required('TEST_RABBITMQCTL')} "$@"`;
  const { stdout } = await promisify(execFile)('/bin/sh', ['-c', script, 'sh', ...args]);
  return stdout;
}

/** Repeats `assertion` until it passes; after `timeoutMs` its last failure is thrown. */
export async function eventually<Result>(
  assertion: () => Result | Promise<Result>,
  { timeoutMs = 10_000, everyMs = 25 } = {},
): Promise<Result> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    try {
      return await assertion();
    } catch (error) {
      if (Date.now() >= deadline) throw error;
      await sleep(everyMs);
    }
  }
}

export interface Answer<Body> {
  status: number;
  headers: Headers;
  /** Parsed if it is JSON, else text. */
  body: Body;
}

export interface RequestOptions {
  /** Sent as JSON; a string is sent as it is. */
  body?: unknown;
  headers?: Record<string, string>;
}

// biome-ignore lint/suspicious/noExplicitAny: a test reads the wire, whose shape is what it checks
export type Wire = any;

export interface Client {
  get<Body = Wire>(path: string, headers?: Record<string, string>): Promise<Answer<Body>>;
  post<Body = Wire>(path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer<Body>>;
  patch<Body = Wire>(path: string, body?: unknown, headers?: Record<string, string>): Promise<Answer<Body>>;
  request<Body = Wire>(method: string, path: string, options?: RequestOptions): Promise<Answer<Body>>;
}

/** Redirects are answers too and not followed. */
export function client(baseUrl: string): Client {
  const request: Client['request'] = async (method, path, { body, headers = {} } = {}) => {
    const response = await fetch(new URL(path, baseUrl), {
      method,
      redirect: 'manual',
      headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    const isJson = /[/+]json\b/.test(response.headers.get('content-type') ?? '');
    return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : text };
  };
  return {
    request,
    get: (path, headers = {}) => request('GET', path, { headers }),
    post: (path, body, headers = {}) => request('POST', path, { body, headers }),
    patch: (path, body, headers = {}) => request('PATCH', path, { body, headers }),
  };
}

/** The whole answer of an error, but for its request id. */
export function problem(status: number, title: string, code: string, detail: string, errors?: object[]) {
  return { type: 'about:blank', title, status, detail, code, ...(errors && { errors }) };
}

/** What a 422 says that is about these fields. */
export function invalid(...broken: (readonly [field: string, rule: string])[]) {
  const detail = broken.map(([field, rule]) => `${field} ${rule}`).join('; ');
  const errors = broken.map(([field, rule]) => ({ field, rule }));
  return problem(422, 'Unprocessable Content', 'validation_failed', detail, errors);
}

/** A problem's body without its request id, once that has been found to be the one of the header. */
export function bodyOf({ body, headers }: Answer<Record<string, unknown>>): object {
  const { request_id, ...rest } = body;
  if (request_id !== headers.get('x-request-id')) throw new Error('the body names another request than the header');
  if (headers.get('content-type') !== 'application/problem+json; charset=utf-8') throw new Error('not a problem');
  return rest;
}

function required(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run tests by "npm test", whose global setup starts the servers`);
  return value;
}

/** Fernet keys for tests; the first two encrypt, the third is for the blind index. */
export const testKeys = [
  'cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=',
  'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=',
  'Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=',
] as const;

export interface TestService {
  url: string;
  api: Client;
  prefix: string;
  env: Record<string, string>;
  /** Runs SQL as the administrator. */
  sql<Row = Wire>(text: string, values?: readonly unknown[]): Promise<Row[]>;
  /** Events recorded so far, in order: name, subject and data. */
  events(): Promise<{ name: string; subject: string; data: Wire }[]>;
  close(): Promise<void>;
}

/** One service as in production, on its own database and with its own exchange and queues on the real broker. */
export async function startTestService(
  definition: ServiceDefinition,
  env: Record<string, string> = {},
): Promise<TestService> {
  const database = await createTestDatabase([definition.name]);
  const prefix = uniquePrefix();
  const complete = {
    HOST: '127.0.0.1',
    PORT: '0',
    LOG_LEVEL: 'silent',
    DATABASE_URL: database.urlFor(definition.name),
    AMQP_URL: amqpUrl(),
    AMQP_PREFIX: prefix,
    ...env,
  };
  const service = await startService(definition, complete);
  const admin = new pg.Pool({ connectionString: database.adminUrl, max: 2 });
  admin.on('error', () => undefined);
  const sql: TestService['sql'] = async (text, values = []) => (await admin.query(text, [...values])).rows;
  return {
    url: service.url,
    api: client(service.url),
    prefix,
    env: complete,
    sql,
    events: () => sql(`select name, subject, data from ${definition.name}.outbox order by id`),
    close: async () => {
      await service.close();
      await admin.end();
      await database.drop();
      await deleteTopology(prefix);
    },
  };
}

/** Removes what a test declared on the broker of the run. */
export async function deleteTopology(prefix: string): Promise<void> {
  const model = await connect(amqpUrl(), { timeout: 5_000 });
  const channel = await model.createChannel();
  const topology = topologyOf(prefix);
  for (const name of Object.keys(queues)) {
    await channel.deleteQueue(topology.queue(name));
    await channel.deleteQueue(topology.deadQueue(name));
  }
  await channel.deleteExchange(topology.events);
  await channel.deleteExchange(topology.deadLetters);
  await model.close();
}
