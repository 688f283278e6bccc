// The PostgreSQL and RabbitMQ of a test run. Each test file has its own database and queues on them.
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { queues } from '@promopulse/shared/contracts/queues';
import { services as allServices } from '@promopulse/shared/contracts/services';
import { provision, unprovision, withClient } from '@promopulse/shared/database/provision';
import { topologyOf } from '@promopulse/shared/messaging/rabbitmq/topology';
import { connect } from 'amqplib';

export interface TestDatabase {
  /** The URL for the service's role, which owns the schema of the service's name. */
  urlFor(service: string): string;
  adminUrl: string;
  drop(): Promise<void>;
}

/** Creates a database with its own roles, so that test files can run in parallel. Call `drop` in afterAll. */
export async function createTestDatabase(services: readonly string[] = allServices): Promise<TestDatabase> {
  const cluster = required('TEST_DATABASE_URL');
  const name = `test_${randomBytes(6).toString('hex')}`;
  const options = { database: name, services };
  const { adminUrl, urls } = await provision(cluster, options);
  return {
    adminUrl,
    urlFor: (service) => {
      const url = urls[service];
      if (url === undefined) throw new Error(`${service} was not provisioned in this test's database`);
      return url;
    },
    drop: () => unprovision(cluster, options),
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
  const connection = await connect(url, { timeout: 5_000 });
  const { version } = connection.connection.serverProperties;
  await connection.close();
  return version;
}

/** A value for AMQP_PREFIX that separates the queues of this test file from all others on the broker. */
export function uniquePrefix(): string {
  return `test-${randomBytes(6).toString('hex')}.`;
}

/** Runs rabbitmqctl on the broker of the run, for example `rabbitmqctl('stop_app')`. @throws if it has no access */
export async function rabbitmqctl(...args: string[]): Promise<string> {
  const script = `${required('TEST_RABBITMQCTL')} "$@"`;
  const { stdout } = await promisify(execFile)('/bin/sh', ['-c', script, 'sh', ...args]);
  return stdout;
}

/** Deletes the queues and exchanges that a test declared on the broker of the run. */
export async function deleteTopology(prefix: string): Promise<void> {
  const connection = await connect(amqpUrl(), { timeout: 5_000 });
  const channel = await connection.createChannel();
  const topology = topologyOf(prefix);
  for (const name of Object.keys(queues)) {
    await channel.deleteQueue(topology.queue(name));
    await channel.deleteQueue(topology.deadQueue(name));
  }
  await channel.deleteExchange(topology.events);
  await channel.deleteExchange(topology.heartbeats);
  await channel.deleteExchange(topology.deadLetters);
  await connection.close();
}

function required(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set: run tests by "npm test", whose global setup starts the servers`);
  return value;
}
