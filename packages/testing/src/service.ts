// A service for tests, on the servers of the run. test/support/global-setup.ts chooses and starts them once per run.
import { typeParsers } from '@promopulse/shared/database/prepared';
import { type ServiceDefinition, startService } from '@promopulse/shared/service';
import pg from 'pg';
import { type Client, client, type Wire } from './client.ts';
import { amqpUrl, createTestDatabase, deleteTopology, uniquePrefix } from './servers.ts';

/** Fernet keys for tests: two encryption keys, and the key of the blind index. */
export const testKeys = [
  'cw_0x689RpI-jtRR7oE8h_eQsKImvJapLeSbXpwF4e4=',
  'AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=',
  'Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=',
] as const;

export interface TestService {
  url: string;
  api: Client;
  /** The internal listener: internal routes, health and the OpenAPI document. */
  internalUrl: string;
  internal: Client;
  /** The listener of the metrics, with METRICS_PORT=0. */
  metricsUrl: string | undefined;
  prefix: string;
  env: Record<string, string>;
  /** Runs SQL as the administrator. */
  sql<Row = Wire>(text: string, values?: readonly unknown[]): Promise<Row[]>;
  /** The events in the outbox, in the order in which they were recorded. */
  events(): Promise<{ name: string; subject: string; data: Wire }[]>;
  /** Stops the service and keeps its database and queues. */
  stop(): Promise<void>;
  close(): Promise<void>;
}

/** Starts a service as in production, on its own database and with its own exchange and queues on the real broker. */
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
  const admin = new pg.Pool({ connectionString: database.adminUrl, max: 2, types: typeParsers });
  admin.on('error', () => undefined);
  const sql: TestService['sql'] = async (text, values = []) => (await admin.query(text, [...values])).rows;
  return {
    url: service.url,
    api: client(service.url),
    internalUrl: service.internalUrl,
    internal: client(service.internalUrl),
    metricsUrl: service.metricsUrl,
    prefix,
    env: complete,
    sql,
    events: () => sql(`select name, subject, data from ${definition.name}.outbox order by id`),
    stop: () => service.close(),
    close: async () => {
      await service.close();
      await admin.end();
      await database.drop();
      await deleteTopology(prefix);
    },
  };
}
