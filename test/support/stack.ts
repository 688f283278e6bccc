// The stacks that the journeys run on. With BASE_URL it is the one at that address, for example of docker compose. Else
// all services run in this process on a database of their own: once over RabbitMQ, once with the in-memory broker.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { typeParsers } from '@promopulse/shared/database/prepared';
import { client, type Wire } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { amqpUrl, createTestDatabase, deleteTopology, uniquePrefix } from '@promopulse/testing/servers';
import pg from 'pg';
import { startStack } from '../../local/stack.ts';

export interface RunningStack {
  url: string;
  /** Prefix of its queues; without effect with the in-memory broker, empty at BASE_URL. */
  prefix: string;
  /** The API key that the first start with AUTH=required makes. */
  firstKey?: string | undefined;
  /** Every log line of every service. @throws at BASE_URL */
  logs(): string;
  /** Runs SQL as the administrator of the database. @throws at BASE_URL */
  sql(text: string, values?: readonly unknown[]): Promise<Wire[]>;
  close(): Promise<void>;
}

interface TestStack {
  name: string;
  start(): Promise<RunningStack>;
}

const { BASE_URL } = process.env;
/** A test lets 200 clients race; on a busy machine all their requests may be in flight at once. */
const raceSettings = { MAX_IN_FLIGHT: '200' };

export const testStacks: TestStack[] = BASE_URL
  ? [{ name: `at ${BASE_URL}`, start: async () => stackAt(BASE_URL) }]
  : [
      { name: 'over RabbitMQ', start: () => startFreshStack('rabbit', raceSettings) },
      { name: 'with the in-memory broker', start: () => startFreshStack('memory', raceSettings) },
    ];

function stackAt(url: string): RunningStack {
  const notAvailable = () => {
    throw new Error(`The services at ${url} are not in this process`);
  };
  return { url, prefix: '', logs: notAvailable, sql: notAvailable, close: async () => undefined };
}

export async function startFreshStack(
  transport: 'rabbit' | 'memory',
  env: NodeJS.ProcessEnv = {},
  /** Returns the URL that the services use for the database, for example one of a proxy. */
  through: (databaseUrl: string) => Promise<string> = async (databaseUrl) => databaseUrl,
): Promise<RunningStack> {
  const database = await createTestDatabase();
  const dataDir = mkdtempSync(join(tmpdir(), 'promopulse-stack-'));
  const prefix = uniquePrefix();
  const lines: string[] = [];
  const logDestination = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      lines.push(chunk.toString());
      done();
    },
  });
  const removeAll = async (): Promise<void> => {
    await database.drop();
    if (transport === 'rabbit') await deleteTopology(prefix);
    rmSync(dataDir, { recursive: true, force: true });
  };
  const stack = await startStack({
    env: {
      DATABASE_URL: await through(database.adminUrl),
      ...(transport === 'rabbit' && { AMQP_URL: amqpUrl(), AMQP_PREFIX: prefix }),
      ...env,
    },
    dataDir,
    host: '127.0.0.1',
    port: 0,
    logDestination,
    print: () => undefined,
  }).catch(async (error) => {
    await removeAll();
    throw error;
  });
  const admin = new pg.Pool({ connectionString: database.adminUrl, max: 2, types: typeParsers });
  admin.on('error', () => undefined);
  const url = `http://127.0.0.1:${stack.port}`;
  await eventually(async () => {
    if ((await client(url).get('/health')).status !== 200) throw new Error('the services are not healthy yet');
  });
  return {
    url,
    prefix,
    firstKey: stack.firstKey,
    logs: () => lines.join(''),
    sql: async (text, values = []) => (await admin.query(text, [...values])).rows,
    close: async () => {
      await stack.close();
      await admin.end();
      await removeAll();
    },
  };
}
