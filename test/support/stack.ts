// The meshes a journey runs on: the one at BASE_URL when that is set (docker compose, for instance), else the whole
// mesh in this process on a database of its own, once over RabbitMQ and once with the messages within the process.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import { client, type Wire } from '@promopulse/testing/client';
import { eventually } from '@promopulse/testing/eventually';
import { amqpUrl, createTestDatabase, deleteTopology, uniquePrefix } from '@promopulse/testing/servers';
import pg from 'pg';
import { startStack } from '../../local/stack.ts';

export interface RunningStack {
  url: string;
  /** Of its queues, where it is in this process and over RabbitMQ. */
  prefix: string;
  /** Every log line of every service, where the mesh is in this process. */
  logs(): string;
  /** Runs SQL as the database's administrator, where the mesh is in this process. */
  sql(text: string, values?: readonly unknown[]): Promise<Wire[]>;
  close(): Promise<void>;
}

interface TestStack {
  name: string;
  start(): Promise<RunningStack>;
}

const { BASE_URL } = process.env;
/** A test lets 200 clients race; on a busy machine all of them may be under way at once. */
const roomForAll = { MAX_IN_FLIGHT: '200' };

export const testStacks: TestStack[] = BASE_URL
  ? [{ name: `at ${BASE_URL}`, start: async () => stackAt(BASE_URL) }]
  : [
      { name: 'over RabbitMQ', start: () => startFreshStack('rabbit', roomForAll) },
      { name: 'with messages within the process', start: () => startFreshStack('memory', roomForAll) },
    ];

function stackAt(url: string): RunningStack {
  const elsewhere = () => {
    throw new Error(`the mesh at ${url} is not in this process`);
  };
  return { url, prefix: '', logs: elsewhere, sql: elsewhere, close: async () => undefined };
}

export async function startFreshStack(
  transport: 'rabbit' | 'memory',
  env: NodeJS.ProcessEnv = {},
  /** How the services reach their database, when not straight. */
  through: (databaseUrl: string) => Promise<string> = async (databaseUrl) => databaseUrl,
): Promise<RunningStack> {
  const database = await createTestDatabase();
  const dataDir = mkdtempSync(join(tmpdir(), 'promopulse-mesh-'));
  const prefix = uniquePrefix();
  const lines: string[] = [];
  const logDestination = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      lines.push(chunk.toString());
      done();
    },
  });
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
  });
  const admin = new pg.Pool({ connectionString: database.adminUrl, max: 2 });
  admin.on('error', () => undefined);
  const url = `http://127.0.0.1:${stack.port}`;
  await eventually(async () => {
    if ((await client(url).get('/health')).status !== 200) throw new Error('the mesh is not healthy yet');
  });
  return {
    url,
    prefix,
    logs: () => lines.join(''),
    sql: async (text, values = []) => (await admin.query(text, [...values])).rows,
    close: async () => {
      await stack.close();
      await admin.end();
      await database.drop();
      if (transport === 'rabbit') await deleteTopology(prefix);
      rmSync(dataDir, { recursive: true, force: true });
    },
  };
}
