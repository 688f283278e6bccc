// The PostgreSQL and RabbitMQ of a test run: a database and queues of its own for each test file.
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { queues } from '@promopulse/shared/contracts/queues';
import { services as allServices } from '@promopulse/shared/contracts/services';
import { provision, unprovision, withClient } from '@promopulse/shared/database/provision';
import { topologyOf } from '@promopulse/shared/messaging/rabbitmq/topology';
import { connect } from 'amqplib';

export interface TestDatabase {
  /** For the service's own role, which owns the schema of that name. */
  urlFor(service: string): string;
  adminUrl: string;
  drop(): Promise<void>;
}

/** A database and roles of its own, so that test files run side by side; call `drop` in afterAll. */
export async function createTestDatabase(services: readonly string[] = allServices): Promise<TestDatabase> {
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

function required(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run tests by "npm test", whose global setup starts the servers`);
  return value;
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
